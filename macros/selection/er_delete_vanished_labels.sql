{#- Delete the labels of records that are not there any more; a post-hook of er_labels. The label store keeps them. -#}
{% macro er_delete_vanished_labels(labels, records) %}
    {{ return(adapter.dispatch('er_delete_vanished_labels', 'distiller_udf')(labels, records)) }}
{% endmacro %}


{% macro default__er_delete_vanished_labels(labels, records) %}
    {% do distiller_udf._er_not_supported('er_delete_vanished_labels') %}
{% endmacro %}


{% macro duckdb__er_delete_vanished_labels(labels, records) %}
delete from {{ labels }} as labels
where not exists (
    select 1
    from {{ records }} as records
    where records.source = labels.left_source and records.id = labels.left_id
)
{% endmacro %}
