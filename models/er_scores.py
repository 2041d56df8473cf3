"""One row a candidate pair: what the current student says of it."""


def model(dbt, session):
    dbt.config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key=["left_source", "left_id"],
    )
    from distiller_udf import pipeline
    from distiller_udf.plugin import project_folder
    from distiller_udf.students.llm import serving_of

    return pipeline.score(
        session,
        pairs=dbt.ref("er_pairs"),
        students=dbt.ref("er_student"),
        settings=dbt.config.meta_get("er"),
        scored=session.query(f"select * from {dbt.this}") if dbt.is_incremental else None,
        serving=serving_of(dbt.config.meta_get("er"), project_folder()),
    )
