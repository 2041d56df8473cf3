"""One row a comparison that `distiller retrain` made of a challenger and the student that was current then."""


def model(dbt, session):
    dbt.config(materialized="table")
    from distiller_udf import pipeline
    from distiller_udf.plugin import running
    from distiller_udf.registry import Registry

    return pipeline.student_comparisons(Registry.of(running().settings))
