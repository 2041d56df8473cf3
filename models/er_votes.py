"""One row a left record: one label of all teachers' answers."""


def model(dbt, session):
    dbt.config(materialized="er_python")
    from distiller_udf import pipeline
    from distiller_udf.plugin import running

    return pipeline.vote(
        session,
        labels=dbt.ref("er_labels"),
        settings=running().settings,
    )
