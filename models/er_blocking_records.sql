-- One row a record, as blocking sees it: its number, and what it is blocked by.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}
{#- A name that is misspelt would hide nothing; it is said before anything is asked. #}
{% for variable in ['er_private_columns', 'er_masked_columns'] %}
    {%- do distiller_udf._er_check_columns(variable, er[variable], ref('er_records')) -%}
{% endfor %}

{{ distiller_udf.er_blocking_records(
    ref('er_records'),
    sources=er['er_sources'],
    blocking=er['er_blocking'],
    rules=er['er_blocking_rules'],
    columns=er['er_blocking_columns'],
    constraint=er['er_constraint']
) }}
