{#-
    A table that is made step by step: each step a temporary table, the last one the model. One statement with as many
    common table expressions would hold all of them, and what they were made with, in memory until it ends; a step ends.

    A model of this kind is a list of SELECTs, each behind a line `-- er_step: name`, or `-- er_view: name` for what need
    not be a table of its own; the last one is the model. A step that takes longer than five seconds is logged.
-#}
{% materialization er_steps, adapter='duckdb' %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set intermediate_relation = make_intermediate_relation(target_relation) -%}
    {%- set backup_relation = make_backup_relation(target_relation, existing_relation.type if existing_relation else 'table') -%}
    {{ drop_relation_if_exists(load_cached_relation(intermediate_relation)) }}
    {{ drop_relation_if_exists(load_cached_relation(backup_relation)) }}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set steps = distiller_udf._er_steps(compiled_code) -%}
    {#- Views cost nothing; they are made together with the next table. -#}
    {%- set views = [] -%}
    {% for kind, name, select in steps[:-1] %}
        {%- set create = 'create or replace temporary ' ~ kind ~ ' ' ~ name ~ ' as (\n' ~ select ~ '\n);\n' -%}
        {% if kind == 'view' %}
            {% do views.append(create) %}
        {% else %}
            {%- set started = modules.datetime.datetime.now() -%}
            {% call statement(name) -%}
                {{ views | join }}{{ create }}
            {%- endcall %}
            {%- set seconds = (modules.datetime.datetime.now() - started).total_seconds() -%}
            {% do views.clear() %}
            {% do log(
                this.identifier ~ ': step ' ~ loop.index ~ ' of ' ~ (steps | length) ~ ', ' ~ name ~ ', took '
                ~ (seconds | round(1)) ~ ' s', info=seconds > 5
            ) %}
        {% endif %}
    {% endfor %}

    {% call statement('main') -%}
        {{ views | join }}{{ create_table_as(False, intermediate_relation, steps[-1][2]) }}
    {%- endcall %}
    {% call statement('drop_steps') -%}
        {% for kind, name, select in steps[:-1] | reverse -%}
        drop {{ kind }} temp.{{ name }};
        {% endfor %}
    {%- endcall %}

    {% if existing_relation is not none %}
        {% do drop_indexes_on_relation(existing_relation) %}
        {{ adapter.rename_relation(existing_relation, backup_relation) }}
    {% endif %}
    {{ adapter.rename_relation(intermediate_relation, target_relation) }}
    {% do create_indexes(target_relation) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing_relation, full_refresh_mode=True)) %}
    {% do persist_docs(target_relation, model) %}
    {{ adapter.commit() }}
    {{ drop_relation_if_exists(backup_relation) }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- The steps that a text lists, each with its kind (table or view), its name and its SELECT. -#}
{% macro _er_steps(text) %}
    {% set steps = [] %}
    {% for part in modules.re.split('(?m)^ *-- er_(?=step: |view: )', text)[1:] %}
        {% set head, select = part.split('\n', 1) %}
        {% set kind, name = head.split(': ') %}
        {% do steps.append(({'step': 'table', 'view': 'view'}[kind], name | trim, select | trim)) %}
    {% endfor %}
    {% if not steps %}
        {% do distiller_udf._er_raise(
            'a model that is materialized as er_steps lists its steps behind lines `-- er_step: name`; ' ~ model.name ~ ' has none.'
        ) %}
    {% endif %}
    {% do return(steps) %}
{% endmacro %}
