"""One row a comparison that `distiller retrain` made of a challenger and the student that was current then."""


def model(dbt, session):
    dbt.config(materialized="er_python")
    from distiller_udf.plugin import running
    from distiller_udf.registry import Registry
    from distiller_udf.training.schedule.comparison import Archive

    return Archive(Registry.of(running().settings).folder).table()
