"""One row a teacher and way of asking: how right it seems to be, by the answers of the other teachers."""


def model(dbt, session):
    dbt.config(materialized="er_python")
    from distiller_udf import pipeline
    from distiller_udf.plugin import running

    return pipeline.reliability(
        session,
        labels=dbt.ref("er_labels"),
        settings=running().settings,
    )
