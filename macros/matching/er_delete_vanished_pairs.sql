{#- Delete the scores of pairs that are no candidates any more; a post-hook of er_scores. -#}
{% macro er_delete_vanished_pairs(scores, candidates) %}
    {{ return(adapter.dispatch('er_delete_vanished_pairs', 'distiller_udf')(scores, candidates)) }}
{% endmacro %}


{% macro default__er_delete_vanished_pairs(scores, candidates) %}
    {% do distiller_udf._er_not_supported('er_delete_vanished_pairs') %}
{% endmacro %}


{% macro duckdb__er_delete_vanished_pairs(scores, candidates) %}
delete from {{ scores }} as scores
where not exists (
    select 1
    from {{ candidates }} as candidates
    where
        candidates.left_source = scores.left_source
        and candidates.left_id = scores.left_id
        and candidates.right_source = scores.right_source
        and candidates.right_id = scores.right_id
)
{% endmacro %}
