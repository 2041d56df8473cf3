-- One row a way of blocking: how many pairs it will propose, from counts.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_blocking_estimate(
    ref('er_records'),
    blocking_records=ref('er_blocking_records'),
    sources=er['er_sources'],
    terms={'tokens': ref('er_tokens'), 'qgrams': ref('er_qgrams')},
    task=er['er_task'],
    constraint=er['er_constraint'],
    blocking=er['er_blocking'],
    rules=er['er_blocking_rules'],
    top_k=er['er_blocking_top_k'],
    mode=er['er_blocking_mode'],
    max_block=er['er_blocking_max_block']
) }}
