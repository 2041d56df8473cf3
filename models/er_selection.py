"""One row a left record that the teachers are asked about."""


def model(dbt, session):
    dbt.config(materialized="table")
    from distiller_udf import pipeline

    return pipeline.select_tuples(
        session,
        candidates=dbt.ref("er_candidates"),
        settings=dbt.config.meta_get("er"),
        database=dbt.this.database,
        schema=dbt.this.schema,
    )
