-- One row a record, with the entity it belongs to.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_entities(ref('er_matches'), records=ref('er_records'), sources=er['er_sources']) }}
