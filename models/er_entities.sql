-- One row a record, with the entity it belongs to. An entity keeps its id from run to run, --full-refresh or not.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='er_steps') }}

{{ distiller_udf.er_entities(
    ref('er_matches'),
    records=ref('er_records'),
    sources=er['er_sources'],
    task=er['er_task'],
    constraint=er['er_constraint'],
    max_size=er['er_entity_max_size'],
    cannot_links=distiller_udf._er_ref(er['er_cannot_links']),
    former=distiller_udf._er_former(this, columns=['entity_id', 'first_seen'], keep=true)
) }}
