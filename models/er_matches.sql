-- One row a match: a pair that is decided to be the same entity.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table', post_hook=[
    "{{ distiller_udf._er_warn_links('er_must_links', ref('er_records')) }}",
    "{{ distiller_udf._er_warn_links('er_cannot_links', ref('er_records')) }}",
    "{{ distiller_udf._er_warn_taken(this, ref('er_choices'), ref('er_student')) }}"
]) }}

{{ distiller_udf.er_matches(
    ref('er_choices'),
    records=ref('er_records'),
    sources=er['er_sources'],
    task=er['er_task'],
    constraint=er['er_constraint'],
    threshold=er['er_threshold'],
    student=ref('er_student'),
    must_links=distiller_udf._er_ref(er['er_must_links']),
    cannot_links=distiller_udf._er_ref(er['er_cannot_links']),
    strict=er['er_strict']
) }}
