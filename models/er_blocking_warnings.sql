-- One row a warning: what in the records keeps blocking from being of use.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table', post_hook="{{ distiller_udf._er_log_warnings(this) }}") }}

{{ distiller_udf.er_blocking_warnings(
    ref('er_records'),
    blocking_records=ref('er_blocking_records'),
    tokens=ref('er_tokens'),
    estimate=ref('er_blocking_estimate'),
    columns=er['er_blocking_columns'],
    max_block=er['er_blocking_max_block'],
    sources=er['er_sources'],
    task=er['er_task'],
    blocking=er['er_blocking'],
    rules=er['er_blocking_rules']
) }}
