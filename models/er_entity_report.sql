-- One row an entity, of the hundred largest: the weakest link that holds it together.
{% do distiller_udf._er_settings() %}
{{ config(materialized='er_steps') }}

{{ distiller_udf.er_entity_report(ref('er_entities'), matches=ref('er_matches')) }}
