{#- Delete the scores of pairs that are no candidates any more; a post-hook of er_scores. -#}
{% macro er_delete_vanished_pairs(scores, candidates) %}
    {{ return(adapter.dispatch('er_delete_vanished_pairs', 'distiller_udf')(scores, candidates)) }}
{% endmacro %}


{% macro duckdb__er_delete_vanished_pairs(scores, candidates) %}
{{ distiller_udf._er_delete_vanished(scores, candidates, [
    ('left_source', 'left_source'), ('left_id', 'left_id'), ('right_source', 'right_source'), ('right_id', 'right_id')
]) }}
{% endmacro %}
