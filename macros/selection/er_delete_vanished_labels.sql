{#- Delete the labels of records that are not there any more; a post-hook of er_labels. The label store keeps them. -#}
{% macro er_delete_vanished_labels(labels, records) %}
    {{ return(adapter.dispatch('er_delete_vanished_labels', 'distiller_udf')(labels, records)) }}
{% endmacro %}


{% macro duckdb__er_delete_vanished_labels(labels, records) %}
{{ distiller_udf._er_delete_vanished(labels, records, [('left_source', 'source'), ('left_id', 'id')]) }}
{% endmacro %}
