{#- A data test: both records of every pair are in the records, and the pair names them in their order. -#}
{% test er_pairs_have_records(model, records) %}
{% set records = distiller_udf._er_built(records, needed=true) %}
{% set er = distiller_udf._er_settings() %}

select {{ distiller_udf._er_pair() }}
from {{ model }} as pairs
{{ distiller_udf._er_with_records('pairs', records, 'left join') }}
where
    l.source is null
    or r.source is null
    or {{ distiller_udf._er_source_rank('l.source', er['er_sources'], er['er_constraint']) }}
        > {{ distiller_udf._er_source_rank('r.source', er['er_sources'], er['er_constraint']) }}
    or (l.source = r.source and l.id >= r.id)
{% endtest %}
