"""One row a left record and teacher: what that teacher answered, once."""


def model(dbt, session):
    dbt.config(
        materialized="er_python",
        incremental_strategy="delete+insert",
        unique_key=["left_source", "left_id", "teacher"],
        on_schema_change="append_new_columns",
    )
    from distiller_udf import pipeline
    from distiller_udf.plugin import invocation, running

    return pipeline.label(
        session,
        tuples=dbt.ref("er_tuples"),
        pairs=dbt.ref("er_pairs"),
        records=dbt.ref("er_records"),
        settings=running().settings,
        invocation=invocation(),
    )
