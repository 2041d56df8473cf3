{#- The candidate pairs with both records as STRUCT. -#}
{% macro er_pairs(candidates, records) %}
    {{ return(adapter.dispatch('er_pairs', 'distiller_udf')(candidates, records)) }}
{% endmacro %}


{% macro duckdb__er_pairs(candidates, records) %}
with packed as (
    select
        source,
        id,
        fingerprint,
        struct_pack(*columns(* exclude (source, id, fingerprint))) as record
    from {{ records }}
)

select
    {{ distiller_udf._er_pair() }},
    candidates.similarity,
    candidates.blocked_by,
    l.record as left_record,
    r.record as right_record,
    md5(l.fingerprint || r.fingerprint) as pair_fingerprint
from {{ candidates }} as candidates
{{ distiller_udf._er_with_records('candidates', 'packed') }}
{% endmacro %}
