{#-
    For each source the select list of its id and its chosen columns. A column whose name er_records keeps for itself
    becomes original_<name>; a column or id that has different types in different sources becomes text, and so does one
    that Arrow or Python does not hold as it is.
-#}
{% macro _er_record_columns(sources) %}
    {% set chosen = [] %}
    {% set types = {} %}
    {% for source in sources %}
        {% do chosen.append(distiller_udf._er_chosen_columns(source)) %}
        {% for column in chosen[-1] if column['type'] %}
            {% do types.setdefault(column['name'] | lower, []).append(column['type'] | upper) %}
        {% endfor %}
    {% endfor %}
    {% for type in types.get('id', []) if distiller_udf._er_is_nested(type) %}
        {% do distiller_udf._er_raise('er_sources has an id of the type ' ~ type ~ '; an id is one value, such as a number or a text.') %}
    {% endfor %}
    {% set integers = [
        'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT', 'UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT'
    ] %}
    {% set numbers = integers + ['FLOAT', 'DOUBLE', 'DECIMAL'] %}
    {% set foreign = ['BIT', 'UHUGEINT', 'BIGNUM', 'TIME WITH TIME ZONE', 'VARIANT', 'GEOMETRY'] %}
    {#- An id is a key as well: no number may be rounded, and Arrow neither sorts intervals nor makes text of them. -#}
    {% set no_keys = foreign + ['ENUM', 'FLOAT', 'DOUBLE', 'INTERVAL'] %}
    {% set lists = [] %}
    {% for columns in chosen %}
        {% set select_list = [] %}
        {% for column in columns %}
            {% set all_types = types.get(column['name'] | lower, []) %}
            {% set expression = column['expression'] %}
            {% if loop.first and distiller_udf._er_is_text(all_types, integers, no_keys) %}
                {% set expression = distiller_udf._er_id_text(expression, column['type']) %}
            {% elif not loop.first and distiller_udf._er_is_text(all_types, numbers, foreign) %}
                {% set expression = distiller_udf._er_written(expression, column['type'] | upper) %}
            {% endif %}
            {% do select_list.append(
                expression ~ (' as ' ~ distiller_udf._er_quote(column['name']) if column['name'] is not none else '')
            ) %}
        {% endfor %}
        {% do lists.append(select_list) %}
    {% endfor %}
    {% do return(lists) %}
{% endmacro %}


{#-
    True where values of these types are read as text: where the types differ, for only `united` ones unite without a
    change, and where one is foreign to Python.
-#}
{% macro _er_is_text(types, united, foreign) %}
    {% set kinds = [] %}
    {% for type in types %}
        {% set name = type.split('(')[0] %}
        {#- Within a list or a struct, it makes text of the whole. -#}
        {% set holds = modules.re.findall('"[^"]*"|[A-Z_]+(?: WITH TIME ZONE)?', type) if distiller_udf._er_is_nested(type) else [name] %}
        {% if holds | select('in', foreign) | list %}
            {% do return(true) %}
        {% endif %}
        {% do kinds.append('united' if name in united else type) %}
    {% endfor %}
    {% do return((kinds | unique | list | length) > 1) %}
{% endmacro %}


{% macro _er_is_nested(type) %}
    {% do return(type.endswith(']') or type.split('(')[0] in ['STRUCT', 'MAP', 'UNION']) %}
{% endmacro %}


{#- SQL: an id of this type as text: as DuckDB writes it, but whole numbers without decimals. -#}
{% macro _er_id_text(expression, type) -%}
{{ distiller_udf._er_written(expression, type if (type or '') | upper in ['FLOAT', 'DOUBLE'] else '') }}
{%- endmacro %}


{#-
    SQL: a value of this type as text, as the Python package writes it: JSON of what is nested, and numbers without the
    zeros that only their type asks for.
-#}
{% macro _er_written(expression, type) -%}
{%- if distiller_udf._er_is_nested(type) -%}
cast(to_json({{ expression }}) as varchar)
{%- elif type.split('(')[0] | upper in ['FLOAT', 'DOUBLE', 'DECIMAL'] -%}
regexp_replace(cast({{ expression }} as varchar), '^(-?\d+(?:\.\d*[1-9])?)\.?0*$', '\1')
{%- else -%}
cast({{ expression }} as varchar)
{%- endif -%}
{%- endmacro %}


{#- The types of SQL expressions over a source. The line break ends a comment that an expression may end with. -#}
{% macro _er_types_of(expressions, source) %}
    {% set listed = [] %}
    {% for expression in expressions %}
        {% do listed.append('(' ~ expression ~ '\n) as c' ~ loop.index) %}
    {% endfor %}
    {% set described = run_query(
        'describe select ' ~ (listed | join(', ')) ~ ' from ' ~ distiller_udf._er_source_relation(source)
    ) %}
    {% do return(described.columns['column_type'].values() | list) %}
{% endmacro %}


{#- The id and the chosen columns of one source as {name, expression, type}; name and type are none where unknown. -#}
{% macro _er_chosen_columns(source) %}
    {% set there = adapter.get_columns_in_relation(distiller_udf._er_source_relation(source)) %}
    {% set names = there | map(attribute='name') | list %}
    {% set types = {} %}
    {% for column in there %}
        {% do types.update({column.name | lower: column.dtype}) %}
    {% endfor %}
    {% set id = source['id'] %}
    {% set columns = source.get('columns') %}
    {% for name in [id] + (columns or [] if columns is not mapping else []) if there and (name | lower) not in types %}
        {% do distiller_udf._er_raise(
            'source ' ~ source['name'] ~ ' has no ' ~ ('id ' if name == id else '') ~ 'column ' ~ name
            ~ distiller_udf._er_allowed(name, names)
        ) %}
    {% endfor %}
    {% set chosen = [{'name': 'id', 'expression': distiller_udf._er_quote(id), 'type': types.get(id | lower)}] %}
    {% if columns is mapping %}
        {% set own = distiller_udf._er_types_of(columns.values() | list, source) if there else [] %}
        {% for name, expression in columns.items() %}
            {% do chosen.append({'name': name, 'expression': '(' ~ expression ~ ')', 'type': own[loop.index0] if own else none}) %}
        {% endfor %}
    {% elif columns or there %}
        {% for name in columns or names if columns or (name | lower) != (id | lower) %}
            {% do chosen.append({'name': name, 'expression': distiller_udf._er_quote(name), 'type': types.get(name | lower)}) %}
        {% endfor %}
    {% else %}
        {#- The relation is not there yet, or is an ephemeral model: DuckDB will know its columns. -#}
        {% do chosen.append({'name': none, 'expression': '* exclude (' ~ distiller_udf._er_quote(id) ~ ')', 'type': none}) %}
    {% endif %}
    {% if (chosen | length) == 1 %}
        {% do distiller_udf._er_raise('source ' ~ source['name'] ~ ' has no columns to compare, only its id ' ~ id ~ '.') %}
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
