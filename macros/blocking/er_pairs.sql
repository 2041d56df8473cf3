{#- The candidate pairs with both records as STRUCT. -#}
{% macro er_pairs(candidates, records) %}
    {{ return(adapter.dispatch('er_pairs', 'distiller_udf')(candidates, records)) }}
{% endmacro %}


{% macro default__er_pairs(candidates, records) %}
    {% do distiller_udf._er_not_supported('er_pairs') %}
{% endmacro %}


{% macro duckdb__er_pairs(candidates, records) %}
with

candidates as (
    select * from {{ candidates }}
),

packed as (
    select
        source,
        id,
        fingerprint,
        struct_pack(*columns(* exclude (source, id, fingerprint))) as record
    from {{ records }}
)

select
    candidates.left_source,
    candidates.left_id,
    candidates.right_source,
    candidates.right_id,
    candidates.similarity,
    candidates.blocked_by,
    left_records.record as left_record,
    right_records.record as right_record,
    md5(left_records.fingerprint || right_records.fingerprint) as pair_fingerprint
from candidates
inner join packed as left_records
    on candidates.left_source = left_records.source and candidates.left_id = left_records.id
inner join packed as right_records
    on candidates.right_source = right_records.source and candidates.right_id = right_records.id
{% endmacro %}
