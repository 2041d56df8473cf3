-- One row a candidate pair: two records that blocking finds worth comparing.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_candidates(
    ref('er_records'),
    sources=er['er_sources'],
    task=er['er_task'],
    blocking=er['er_blocking'],
    rules=er['er_blocking_rules'],
    columns=er['er_blocking_columns'],
    top_k=er['er_blocking_top_k'],
    mode=er['er_blocking_mode'],
    qgram_size=er['er_qgram_size'],
    max_block=er['er_blocking_max_block'],
    share_of_best=er['er_blocking_share_of_best'],
    max_candidates=er['er_max_candidates']
) }}
