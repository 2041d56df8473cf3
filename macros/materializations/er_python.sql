{#-
    A table made by a Python model, as dbt's materializations table and incremental make it, but within one transaction: a run
    that fails or is killed leaves nothing beside it. dbt-duckdb runs Python outside the transaction, and keeps the rows of an
    incremental model in a table that is not temporary, in the schema that the connection happens to be in.

    A model with a `unique_key` is incremental: where `dbt.is_incremental`, it gives the rows that are new or have changed.
    What earlier versions left is dropped.
-#}
{% materialization er_python, adapter='duckdb', supported_languages=['python'] %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set intermediate_relation = make_intermediate_relation(target_relation) -%}
    {%- set backup_relation = make_backup_relation(target_relation, existing_relation.type if existing_relation else 'table') -%}
    {{ drop_relation_if_exists(load_cached_relation(intermediate_relation)) }}
    {{ drop_relation_if_exists(load_cached_relation(backup_relation)) }}
    {% do distiller_udf._er_drop_leftovers(this) %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {#- Python alone opens no transaction. -#}
    {% call statement('begin', fetch_result=True) -%}
        select 1
    {%- endcall %}

    {%- set is_incremental = config.get('unique_key') is not none and existing_relation is not none
        and existing_relation.is_table and not should_full_refresh() -%}
    {%- set made = make_temp_relation(target_relation) if is_incremental else intermediate_relation -%}
    {% call statement('main', language='python') -%}
        {{ distiller_udf._er_python(compiled_code, made, is_incremental) }}
    {%- endcall %}
    {% if is_incremental %}
        {% do adapter.expand_target_column_types(from_relation=made, to_relation=target_relation) %}
        {%- set on_schema_change = incremental_validate_on_schema_change(config.get('on_schema_change'), default='ignore') -%}
        {%- set columns = process_schema_changes(on_schema_change, made, target_relation)
            or adapter.get_columns_in_relation(target_relation) -%}
        {%- set strategy = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy') or 'default') -%}
        {% call statement('main') -%}
            {{ strategy({
                'target_relation': target_relation,
                'temp_relation': made,
                'unique_key': config.get('unique_key'),
                'dest_columns': columns,
                'incremental_predicates': config.get('predicates', none) or config.get('incremental_predicates', none)
            }) }}
        {%- endcall %}
        {% call statement('drop_made') -%}
            drop table temp.{{ made }}
        {%- endcall %}
    {% else %}
        {% if existing_relation is not none %}
            {% do drop_indexes_on_relation(existing_relation) %}
            {{ adapter.rename_relation(existing_relation, backup_relation) }}
        {% endif %}
        {{ adapter.rename_relation(intermediate_relation, target_relation) }}
        {% do create_indexes(target_relation) %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing_relation, full_refresh_mode=not is_incremental)) %}
    {% do persist_docs(target_relation, model) %}
    {{ adapter.commit() }}
    {{ drop_relation_if_exists(backup_relation) }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#-
    Python: a model's code that makes a table of its rows, on the connection that dbt commits; a temporary one of the rows of
    an incremental model.
-#}
{% macro _er_python(code, relation, is_incremental) %}
{{ code }}


made_by = model


def model(dbt, session):
    dbt.is_incremental = {{ is_incremental }}
    rows = made_by(dbt, session)
    if not hasattr(rows, "create_view"):  # dbt-duckdb would write what is no relation on a connection of its own
        session.register("er_model_rows", rows)
        rows = session.table("er_model_rows")
    return rows


def materialize(rows, session):
    session.register("er_rows_made", rows)
    session.execute({{ ('create ' ~ ('temporary ' if is_incremental else '') ~ 'table ' ~ relation ~ ' as from er_rows_made') | tojson }})
    session.unregister("er_rows_made")
{% endmacro %}
