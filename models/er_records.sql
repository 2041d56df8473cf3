-- One row a record: the declared sources as one relation.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_records(sources=er['er_sources']) }}
