"""One row a scored pair: its probability where records compete for their matches from both sides."""


def model(dbt, session):
    dbt.config(materialized="er_python")
    from distiller_udf import pipeline
    from distiller_udf.plugin import running

    return pipeline.choices(
        session,
        scores=dbt.ref("er_scores"),
        records=dbt.ref("er_records"),
        students=dbt.ref("er_student"),
        constraint=running().settings.resolved_constraint,
    )
