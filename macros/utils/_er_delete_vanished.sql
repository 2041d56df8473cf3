{#- SQL that deletes the rows of a relation whose key another one does not have; a key is pairs of columns, own and other. -#}
{% macro _er_delete_vanished(relation, there, key) -%}
delete from {{ relation }} as made
where not exists (
    select 1
    from {{ there }} as there
    where {% for own, other in key %}there.{{ other }} = made.{{ own }}{{ ' and ' if not loop.last }}{% endfor %}
)
{%- endmacro %}


{#- Delete what a model holds of records that are not there any more; a post-hook. -#}
{% macro _er_delete_vanished_records(relation, records) -%}
{{ distiller_udf._er_delete_vanished(relation, records, [('source', 'source'), ('id', 'id')]) }}
{%- endmacro %}
