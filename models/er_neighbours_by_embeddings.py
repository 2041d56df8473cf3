"""One row a record: the records whose vectors are nearest to its own."""


def model(dbt, session):
    dbt.config(materialized="er_python")
    from distiller_udf.pipeline import nearest
    from distiller_udf.plugin import running

    return nearest(
        session,
        embeddings=dbt.ref("er_embeddings"),
        numbered=dbt.ref("er_blocking_records"),
        settings=running().settings,
    )
