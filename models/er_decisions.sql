-- One row a candidate pair, with why it is a match or not. A view: it costs nothing until it is asked.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='view') }}

{{ distiller_udf.er_decisions(
    ref('er_choices'),
    matches=ref('er_matches'),
    entities=ref('er_entities'),
    records=ref('er_records'),
    sources=er['er_sources'],
    task=er['er_task'],
    constraint=er['er_constraint'],
    threshold=er['er_threshold'],
    student=ref('er_student'),
    max_size=er['er_entity_max_size'],
    cannot_links=distiller_udf._er_ref(er['er_cannot_links'])
) }}
