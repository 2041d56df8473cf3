-- One row a record and word of it, with its weight.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='er_steps') }}

{{ distiller_udf.er_terms(
    'tokens',
    records=ref('er_records'),
    blocking_records=ref('er_blocking_records'),
    columns=er['er_blocking_columns'],
    is_needed=distiller_udf._er_terms_are_needed(er, 'tokens')
) }}
