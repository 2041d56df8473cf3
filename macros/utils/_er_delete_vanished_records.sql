{#- Delete what a model holds of records that are not there any more; a post-hook. -#}
{% macro _er_delete_vanished_records(relation, records) -%}
delete from {{ relation }} as made
where not exists (select 1 from {{ records }} as records where records.source = made.source and records.id = made.id)
{%- endmacro %}
