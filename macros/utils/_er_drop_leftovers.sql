{#-
    Drop what earlier versions left behind of an incremental Python model on each run, with all that it held: a table of
    dbt-duckdb's that was to be temporary, in the schema that the connection happened to be in. No build can be using one:
    this process holds the database.
-#}
{% macro _er_drop_leftovers(relation) %}
    {% call statement('find_leftovers', fetch_result=True, auto_begin=False) %}
        select database_name, schema_name, table_name
        from duckdb_tables()
        where (
                (database_name = current_database() and schema_name in (current_schema(), 'main'))
                or (database_name, schema_name) = (
                    {{ distiller_udf._er_literal(relation.database) }}, {{ distiller_udf._er_literal(relation.schema) }}
                )
            )
            and not temporary
            and starts_with(table_name, {{ distiller_udf._er_literal(relation.identifier ~ '__dbt_tmp') }})
            and regexp_full_match(substr(table_name, {{ (relation.identifier ~ '__dbt_tmp') | length + 1 }}), '[0-9]{20}')
    {% endcall %}
    {% for database, schema, name in load_result('find_leftovers').table %}
        {% do adapter.drop_relation(api.Relation.create(database=database, schema=schema, identifier=name, type='table')) %}
    {% endfor %}
{% endmacro %}
