{#-
    Drop the tables that a Python incremental model leaves beside its own on each run, with all that it brought; dbt-duckdb
    takes them for temporary ones. A post-hook.
-#}
{% macro _er_drop_leftovers(relation) %}
    {% if not execute %}
        {% do return('') %}
    {% endif %}
    {% set found = run_query(
        "select table_name from information_schema.tables where table_schema = "
        ~ distiller_udf._er_literal(relation.schema) ~ " and table_catalog = "
        ~ distiller_udf._er_literal(relation.database) ~ " and starts_with(table_name, "
        ~ distiller_udf._er_literal(relation.identifier ~ '__dbt_tmp') ~ ")"
    ) %}
    {% for name in found.columns[0].values() %}
        {% set leftover = api.Relation.create(database=relation.database, schema=relation.schema, identifier=name) %}
        {{ 'drop table if exists ' ~ leftover ~ ';' }}
    {% endfor %}
{% endmacro %}
