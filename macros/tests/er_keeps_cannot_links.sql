{#- A data test: no two records of a cannot-link are in one entity. -#}
{% test er_keeps_cannot_links(model, records) %}
{% set er = distiller_udf._er_settings() %}
{% if er['er_cannot_links'] is none %}
select 1 as nothing_to_test where false
{% else %}
with cannot_links as (
    {{ distiller_udf._er_links(
        distiller_udf._er_ref(er['er_cannot_links']), records, er['er_sources'], 'er_cannot_links'
    ) | indent }}
)

select l.source as left_source, l.id as left_id, r.source as right_source, r.id as right_id, l.entity_id
from cannot_links
inner join {{ model }} as l on cannot_links.left_source = l.source and cannot_links.left_id = l.id
inner join {{ model }} as r on cannot_links.right_source = r.source and cannot_links.right_id = r.id
where l.entity_id = r.entity_id
{% endif %}
{% endtest %}
