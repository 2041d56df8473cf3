"""One row a comparison that `distiller retrain` made of a challenger and the student that was current then."""


def model(dbt, session):
    dbt.config(materialized="table")
    from distiller_udf.plugin import project_folder
    from distiller_udf.training.schedule.comparison import student_comparisons

    return student_comparisons(settings=dbt.config.meta_get("er"), folder=project_folder())
