{#-
    For each source the select list of its id and its chosen columns. A column whose name er_records keeps for itself
    becomes original_<name>; a column or id that has different types in different sources becomes text, and so does one
    that Arrow does not hand over as it is.
-#}
{% macro _er_record_columns(sources) %}
    {% set chosen = [] %}
    {% for source in sources %}
        {% do chosen.append(distiller_udf._er_chosen_columns(source)) %}
    {% endfor %}
    {% set types = {} %}
    {% for columns in chosen %}
        {% for column in columns if column['type'] is not none %}
            {% do types.setdefault(column['name'] | lower, []).append(column['type']) %}
        {% endfor %}
    {% endfor %}
    {% set text_ids = distiller_udf._er_ids_are_text(types.get('id', [])) %}
    {% set lists = [] %}
    {% for columns in chosen %}
        {% set select_list = [] %}
        {% for column in columns %}
            {% set all_types = types.get(column['name'] | lower, []) %}
            {% if loop.first and text_ids %}
                {% set expression = 'cast(' ~ column['expression'] ~ ' as varchar)' %}
            {% elif not loop.first and distiller_udf._er_is_text(all_types) %}
                {% set expression = distiller_udf._er_written(column['expression'], column['type']) %}
            {% else %}
                {% set expression = column['expression'] %}
            {% endif %}
            {% do select_list.append(
                column['expression'] if column['name'] is none
                else expression ~ ' as ' ~ distiller_udf._er_quote(column['name'])
            ) %}
        {% endfor %}
        {% do lists.append(select_list) %}
    {% endfor %}
    {% do return(lists) %}
{% endmacro %}


{#-
    True where ids are read as text: where their types differ, for only integers unite without a change, and where Python
    knows the type by another name.
-#}
{% macro _er_ids_are_text(types) %}
    {% set kinds = [] %}
    {% for type in types %}
        {% set type = type | upper %}
        {% if type.endswith(']') or type.split('(')[0] in ['STRUCT', 'MAP', 'UNION'] %}
            {% do distiller_udf._er_raise('er_sources has an id of the type ' ~ type ~ '; an id is one value, such as a number or a text.') %}
        {% endif %}
        {% do kinds.append('integer' if type in [
            'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT', 'UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT', 'UHUGEINT'
        ] else type.split('(')[0] if type.startswith('ENUM') else type) %}
    {% endfor %}
    {% do return((kinds | unique | list | length) > 1 or 'ENUM' in kinds or 'BIT' in kinds) %}
{% endmacro %}


{#-
    SQL: a value of this type as text, as the Python package writes it: JSON of what is nested, and numbers without the
    zeros that only their type asks for.
-#}
{% macro _er_written(expression, type) -%}
{%- set type = type | upper -%}
{%- if type.endswith(']') or type.split('(')[0] in ['STRUCT', 'MAP', 'UNION'] -%}
cast(to_json({{ expression }}) as varchar)
{%- elif type.split('(')[0] in ['FLOAT', 'DOUBLE', 'DECIMAL'] -%}
regexp_replace(cast({{ expression }} as varchar), '^(-?\d+(?:\.\d*[1-9])?)\.?0*$', '\1')
{%- else -%}
cast({{ expression }} as varchar)
{%- endif -%}
{%- endmacro %}


{#-
    True where the values of a column are read as text: where its types cannot be united, for only numbers unite among
    themselves, and where Arrow hands over something else.
-#}
{% macro _er_is_text(types) %}
    {% set kinds = [] %}
    {% for type in types %}
        {% set type = type | upper %}
        {% if type.split('(')[0] in ['BIT', 'UHUGEINT', 'TIME WITH TIME ZONE', 'VARIANT', 'GEOMETRY'] %}
            {% do return(true) %}
        {% endif %}
        {% set number = type.split('(')[0] in [
            'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT', 'UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT',
            'UHUGEINT', 'FLOAT', 'DOUBLE', 'DECIMAL'
        ] %}
        {% do kinds.append('number' if number else type) %}
    {% endfor %}
    {% do return((kinds | unique | list | length) > 1) %}
{% endmacro %}


{#- The id and the chosen columns of one source as {name, expression, type}; name and type are none where unknown. -#}
{% macro _er_chosen_columns(source) %}
    {% set relation = distiller_udf._er_source_relation(source) %}
    {% set there = adapter.get_columns_in_relation(relation) %}
    {% set types = {} %}
    {% for column in there %}
        {% do types.update({column.name | lower: column.dtype}) %}
    {% endfor %}
    {% set id = source['id'] %}
    {% if there and (id | lower) not in types %}
        {% set names = there | map(attribute='name') | list %}
        {% do distiller_udf._er_raise(
            'source ' ~ source['name'] ~ ' has no id column ' ~ id ~ distiller_udf._er_allowed(id, names)
        ) %}
    {% endif %}
    {% set chosen = [{'name': 'id', 'expression': distiller_udf._er_quote(id), 'type': types.get(id | lower)}] %}
    {% set columns = source.get('columns') %}
    {% if columns is mapping %}
        {% for name, expression in columns.items() %}
            {% do chosen.append({'name': name, 'expression': '(' ~ expression ~ ')', 'type': none}) %}
        {% endfor %}
    {% elif columns is not none %}
        {% for name in columns %}
            {% if there and (name | lower) not in types %}
                {% set names = there | map(attribute='name') | list %}
                {% do distiller_udf._er_raise(
                    'source ' ~ source['name'] ~ ' has no column ' ~ name ~ distiller_udf._er_allowed(name, names)
                ) %}
            {% endif %}
            {% do chosen.append(
                {'name': name, 'expression': distiller_udf._er_quote(name), 'type': types.get(name | lower)}
            ) %}
        {% endfor %}
    {% elif there %}
        {% for column in there if (column.name | lower) != (id | lower) %}
            {% do chosen.append(
                {'name': column.name, 'expression': distiller_udf._er_quote(column.name), 'type': column.dtype}
            ) %}
        {% endfor %}
        {% if (chosen | length) == 1 %}
            {% do distiller_udf._er_raise(
                'source ' ~ source['name'] ~ ' has no columns to compare, only its id ' ~ id ~ '.'
            ) %}
        {% endif %}
    {% else %}
        {#- The relation is not there yet, or is an ephemeral model: DuckDB will know its columns. -#}
        {% do chosen.append(
            {'name': none, 'expression': '* exclude (' ~ distiller_udf._er_quote(id) ~ ')', 'type': none}
        ) %}
    {% endif %}
    {% set taken = [] %}
    {% for column in chosen if column['name'] is not none %}
        {% if not loop.first and (column['name'] | lower) in ['source', 'id', 'fingerprint'] %}
            {% do column.update({'name': 'original_' ~ column['name']}) %}
        {% endif %}
        {% if (column['name'] | lower) in taken %}
            {% do distiller_udf._er_raise(
                'source ' ~ source['name'] ~ ' has two columns named ' ~ column['name'] ~ '; name each column once.'
            ) %}
        {% endif %}
        {% do taken.append(column['name'] | lower) %}
    {% endfor %}
    {% do return(chosen) %}
{% endmacro %}
