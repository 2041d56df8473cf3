"""One row a scored pair: its probability where records compete for their matches from both sides."""


def model(dbt, session):
    dbt.config(materialized="table")
    from distiller_udf import pipeline

    return pipeline.choices(
        session,
        scores=dbt.ref("er_scores"),
        records=dbt.ref("er_records"),
        students=dbt.ref("er_student"),
        settings=dbt.config.meta_get("er"),
    )
