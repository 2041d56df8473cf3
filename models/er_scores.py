"""One row a candidate pair: what the current student says of it."""


def model(dbt, session):
    dbt.config(
        materialized="er_python",
        incremental_strategy="delete+insert",
        unique_key=["left_source", "left_id"],
    )
    from distiller_udf import pipeline
    from distiller_udf.plugin import running
    from distiller_udf.students.llm import serving_of

    settings = running().settings
    student = pipeline.current_student(dbt.ref("er_student"), settings.resolved_constraint, serving_of(settings))
    return pipeline.score(
        session,
        pairs=dbt.ref("er_pairs"),
        student=student,
        scored=session.query(f"select * from {dbt.this}") if dbt.is_incremental else None,
    )
