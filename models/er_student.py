"""One row a student version; the current one answers."""


def model(dbt, session):
    dbt.config(materialized="er_python")
    from distiller_udf.plugin import running
    from distiller_udf.training import er_student

    def weighed():
        # Named for dbt, never read: a test that fails on the comparisons stops the student and all that follows.
        return dbt.ref("er_student_comparisons")

    return er_student.student_model(
        session,
        labels=dbt.ref("er_votes"),
        pairs=dbt.ref("er_pairs"),
        settings=running().settings,
    )
