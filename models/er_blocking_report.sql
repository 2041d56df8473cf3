-- One row a way of blocking: what it was worth.
-- depends_on, to be behind the labels of a project that has teachers: {{ ref('er_matches') }}
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_blocking_report(
    ref('er_candidates'),
    estimate=ref('er_blocking_estimate'),
    records=ref('er_records'),
    sources=er['er_sources'],
    gold=distiller_udf._er_ref(er['er_gold']) if er['er_gold'] else none,
    labels=none if er['er_gold'] else distiller_udf._er_if_enabled('er_votes')
) }}
