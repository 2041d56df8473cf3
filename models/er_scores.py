"""One row a candidate pair: what the current student says of it."""


def model(dbt, session):
    dbt.config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key=["left_source", "left_id"],
    )
    from distiller_udf import pipeline

    scored = session.query(f"select * from {dbt.this}") if dbt.is_incremental else None
    return pipeline.score(session, pairs=dbt.ref("er_pairs"), students=dbt.ref("er_student"), scored=scored)
