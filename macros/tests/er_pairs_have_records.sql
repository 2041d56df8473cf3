{#- A data test: both records of every pair are in the records, and the pair names them in their order. -#}
{% test er_pairs_have_records(model, records) %}
{% set er = distiller_udf._er_settings() %}

select pairs.left_source, pairs.left_id, pairs.right_source, pairs.right_id
from {{ model }} as pairs
left join {{ records }} as l on pairs.left_source = l.source and pairs.left_id = l.id
left join {{ records }} as r on pairs.right_source = r.source and pairs.right_id = r.id
where
    l.source is null
    or r.source is null
    or {{ distiller_udf._er_source_rank('l.source', er['er_sources']) }} > {{ distiller_udf._er_source_rank('r.source', er['er_sources']) }}
    or (l.source = r.source and l.id >= r.id)
{% endtest %}
