"""One row a record: its vector, by a pretrained encoder. A record is encoded again when it has changed."""


def model(dbt, session):
    dbt.config(materialized="er_python", incremental_strategy="delete+insert", unique_key=["source", "id"])
    from distiller_udf.pipeline import embed
    from distiller_udf.plugin import running

    return embed(
        session,
        records=dbt.ref("er_records"),
        settings=running().settings,
        embedded=session.query(f"select * from {dbt.this}") if dbt.is_incremental else None,
    )
