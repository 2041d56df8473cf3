-- One row a metric: what blocking and the decisions are worth against er_gold; empty without it.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table', post_hook="{{ distiller_udf._er_warn_links('er_gold', ref('er_records')) }}") }}

{{ distiller_udf.er_metrics(
    ref('er_matches'),
    candidates=ref('er_candidates'),
    entities=ref('er_entities'),
    records=ref('er_records'),
    sources=er['er_sources'],
    task=er['er_task'],
    gold=distiller_udf._er_ref(er['er_gold']),
    constraint=er['er_constraint'],
    strict=er['er_strict']
) }}
