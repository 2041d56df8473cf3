{#- A data test: no two records of a cannot-link are in one entity. -#}
{% test er_keeps_cannot_links(model, records) %}
{% set records = distiller_udf._er_built(records, needed=true) %}
{% set er = distiller_udf._er_settings() %}
{% set links = er['er_cannot_links'] %}
with cannot_links as (
    {{ distiller_udf._er_links(
        distiller_udf._er_built(links, needed=true) if links else none, records, er['er_sources'], 'er_cannot_links',
        er['er_constraint']
    ) | indent }}
)

select l.source as left_source, l.id as left_id, r.source as right_source, r.id as right_id, l.entity_id
from cannot_links
{{ distiller_udf._er_with_records('cannot_links', model) }}
where l.entity_id = r.entity_id
{% endtest %}
