{#- The declared sources, checked: a list of {name, id, columns, and one of model, source, relation}. -#}
{% macro _er_sources(sources, name='er_sources') %}
    {% set example = ' Set ' ~ name ~ ' to a list such as [{name: shop, model: customers, id: customer_id}].' %}
    {% if sources is none or sources is string or sources is mapping or sources is not iterable
        or (sources | list | length) == 0 %}
        {% do distiller_udf._er_raise('no sources are declared.' ~ example) %}
    {% endif %}
    {% set allowed = ['name', 'model', 'source', 'relation', 'id', 'columns'] %}
    {% set names = [] %}
    {% for source in sources %}
        {% if source is not mapping %}
            {% do distiller_udf._er_raise('a source in ' ~ name ~ ' is ' ~ (source | tojson) ~ '.' ~ example) %}
        {% endif %}
        {% for key in source if key not in allowed %}
            {% do distiller_udf._er_raise(
                'a source in ' ~ name ~ ' has the key ' ~ key ~ distiller_udf._er_allowed(key, allowed)
            ) %}
        {% endfor %}
        {% if source.get('name') is not string or (source['name'] | trim) == '' %}
            {% do distiller_udf._er_raise('source ' ~ loop.index ~ ' in ' ~ name ~ ' has no name.' ~ example) %}
        {% endif %}
        {% if ':' in source['name'] %}
            {% do distiller_udf._er_raise(
                'the source ' ~ source['name'] ~ ' in ' ~ name ~ ' has a colon in its name; entity ids are source:id.'
            ) %}
        {% endif %}
        {% if source['name'] in names %}
            {% do distiller_udf._er_raise('two sources in ' ~ name ~ ' are named ' ~ source['name'] ~ '.') %}
        {% endif %}
        {% do names.append(source['name']) %}
        {% set origins = [] %}
        {% for key in ['model', 'source', 'relation'] if source.get(key) is not none %}
            {% do origins.append(key) %}
        {% endfor %}
        {% if (origins | length) != 1 %}
            {% do distiller_udf._er_raise(
                'source ' ~ source['name'] ~ ' needs exactly one of model, source, relation; it has '
                ~ (origins | join(' and ') or 'none') ~ '.'
            ) %}
        {% endif %}
        {% if source.get('source') is not none
            and (source['source'] is string or source['source'] is mapping or (source['source'] | length) != 2) %}
            {% do distiller_udf._er_raise(
                'source ' ~ source['name'] ~ ': source is ' ~ (source['source'] | tojson)
                ~ '. Allowed: [name of the dbt source, name of the table].'
            ) %}
        {% endif %}
        {% if source.get('id') is not string or (source['id'] | trim) == '' %}
            {% do distiller_udf._er_raise('source ' ~ source['name'] ~ ' names no id column; add id: <column>.') %}
        {% endif %}
        {% set columns = source.get('columns') %}
        {% if columns is not none and (columns is string or columns is not iterable) %}
            {% do distiller_udf._er_raise(
                'source ' ~ source['name'] ~ ': columns is ' ~ (columns | tojson)
                ~ '. Allowed: a list of columns, or a mapping of new name to SQL expression.'
            ) %}
        {% endif %}
        {% if columns is not none and (columns | list | length) == 0 %}
            {% do distiller_udf._er_raise(
                'source ' ~ source['name'] ~ ' has no columns to compare; name at least one, or leave columns out to take all.'
            ) %}
        {% endif %}
    {% endfor %}
    {% do return(sources) %}
{% endmacro %}


{#- Where a declared source's rows are. -#}
{% macro _er_source_relation(source) %}
    {% if source.get('model') is not none %}
        {% do return(distiller_udf._er_ref(source['model'])) %}
    {% elif source.get('source') is not none %}
        {% do return(builtins['source'](source['source'][0], source['source'][1])) %}
    {% endif %}
    {% set parts = source['relation'].split('.') if source['relation'] is string else source['relation'] %}
    {% set path = [target.database, target.schema][:[3 - (parts | length), 0] | max] + (parts | list) %}
    {% do return(api.Relation.create(database=path[0], schema=path[1], identifier=path[2])) %}
{% endmacro %}


{#- The sources' names in the order in which they are declared. -#}
{% macro _er_source_names(sources) %}
    {% set names = [] %}
    {% for source in sources or [] %}
        {% do names.append(source['name'] if source is mapping else source) %}
    {% endfor %}
    {% do return(names) %}
{% endmacro %}


{#- The task that auto stands for. -#}
{% macro _er_task(task, sources) %}
    {% if task != 'auto' %}
        {% if task == 'link' and (sources or []) | length == 1 %}
            {% do distiller_udf._er_raise(
                'er_task is link, but there is one source; declare a second one, or set er_task to dedupe.'
            ) %}
        {% endif %}
        {% do return(task) %}
    {% endif %}
    {% do return('link' if (sources or []) | length > 1 else 'dedupe') %}
{% endmacro %}


{#- The constraint that auto stands for. -#}
{% macro _er_constraint(constraint, task) %}
    {% if constraint in ('one_to_one', 'many_to_one') and task != 'link' %}
        {% do distiller_udf._er_raise(
            'er_constraint is ' ~ constraint ~ ', but the task is ' ~ task ~ ', which pairs records of one source; '
            ~ 'there it can be auto or none.'
        ) %}
    {% elif constraint != 'auto' %}
        {% do return(constraint) %}
    {% endif %}
    {% do return('one_to_one' if task == 'link' else 'none') %}
{% endmacro %}


{#- SQL: the position of a source, given the column that names it. -#}
{% macro _er_source_rank(column, sources) -%}
    case {{ column }}
        {%- for name in distiller_udf._er_source_names(sources) %} when {{ distiller_udf._er_literal(name) }} then {{ loop.index }}
        {%- endfor %} end
{%- endmacro %}
