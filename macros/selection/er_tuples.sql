{#- One question a selected left record: the record and its candidates, in an order that tells nothing. -#}
{% macro er_tuples(selection, pairs, seed=42) %}
    {{ return(adapter.dispatch('er_tuples', 'distiller_udf')(selection, pairs, seed)) }}
{% endmacro %}


{% macro duckdb__er_tuples(selection, pairs, seed) %}
select
    pairs.left_source,
    pairs.left_id,
    any_value(pairs.left_record) as query,
    list(
        struct_pack(source := pairs.right_source, id := pairs.right_id, record := pairs.right_record)
        order by md5(concat_ws(
            ':', {{ seed }}, pairs.left_source, cast(pairs.left_id as varchar), pairs.right_source,
            cast(pairs.right_id as varchar)
        ))
    ) as candidates
from {{ pairs }} as pairs
inner join {{ selection }} as selection using (left_source, left_id)
group by pairs.left_source, pairs.left_id
{% endmacro %}
