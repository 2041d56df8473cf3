{#- Where a declared source's rows are. -#}
{% macro _er_source_relation(source) %}
    {% if source.get('model') is not none %}
        {% do return(distiller_udf._er_ref(source['model'])) %}
    {% elif source.get('source') is not none %}
        {% do return(builtins['source'](source['source'][0], source['source'][1])) %}
    {% endif %}
    {% set parts = distiller_udf._er_name_parts(source['relation']) %}
    {% set path = [target.database, target.schema][:[3 - (parts | length), 0] | max] + parts %}
    {% do return(api.Relation.create(database=path[0], schema=path[1], identifier=path[2])) %}
{% endmacro %}


{#-
    The parts of a relation's name, a list or as SQL writes it: between points, and in quotes where a part has points or
    quotes itself. dbt puts quotes around a part, and leaves those within it to us.
-#}
{% macro _er_name_parts(name) %}
    {% set parts = [] %}
    {% if name is string %}
        {% for part in modules.re.findall('"(?:[^"]|"")+"|[^".]+', name) %}
            {% do parts.append(part[1:-1] if part.startswith('"') else part | trim) %}
        {% endfor %}
    {% else %}
        {% for part in name %}
            {% do parts.append(part | replace('"', '""')) %}
        {% endfor %}
    {% endif %}
    {% do return(parts) %}
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
    {% if constraint not in ('auto', 'none') and task != 'link' %}
        {% do distiller_udf._er_raise(
            'er_constraint is ' ~ constraint ~ ', but the task is ' ~ task ~ ', which pairs records of one source; '
            ~ 'there it can be auto or none.'
        ) %}
    {% elif constraint != 'auto' %}
        {% do return(constraint) %}
    {% endif %}
    {% do return('one_to_one' if task == 'link' else 'none') %}
{% endmacro %}


{#-
    SQL: the position of a source in a pair, given the column that names it: sources stand as they are declared, under
    one_to_many the other way round, so that the left record of a pair is the one that is limited.
-#}
{% macro _er_source_rank(column, sources, constraint='auto') -%}
    {%- set names = distiller_udf._er_source_names(sources) -%}
    case {{ column }}
        {%- for name in (names | reverse if constraint == 'one_to_many' else names) %} when {{ distiller_udf._er_literal(name) }} then {{ loop.index }}
        {%- endfor %} end
{%- endmacro %}
