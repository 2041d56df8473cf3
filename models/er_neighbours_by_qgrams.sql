-- One row a record: the records that are nearest to it by q-grams. What the last run found is kept as far as it stands.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='er_steps') }}

{{ distiller_udf.er_neighbours(
    ref('er_qgrams'),
    blocking_records=ref('er_blocking_records'),
    sources=er['er_sources'],
    task=er['er_task'],
    top_k=distiller_udf._er_wanted_neighbours(er, 'qgrams'),
    former=distiller_udf._er_former(this, columns=['signature', 'shortlist', 'settings'])
) }}
