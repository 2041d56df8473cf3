{#-
    Where a model is, as dbt knows it: the project's own of that name, or this package's. none where a project has disabled it
    or has not built it yet. It is no reference: what calls this must refer to something that is built after that model, or
    want what its last run left.
-#}
{% macro _er_if_enabled(name) %}
    {% if execute %}
        {% for package in [project_name, 'distiller_udf'] %}
            {% for node in graph.nodes.values()
                if node.resource_type == 'model' and node.name == name and node.package_name == package %}
                {% do return(adapter.get_relation(node.database, node.schema, node.alias)) %}
            {% endfor %}
        {% endfor %}
    {% endif %}
    {% do return(none) %}
{% endmacro %}


{#- SQL that tells a Python model, on its connection, where the last run left these models; a pre-hook. -#}
{% macro _er_tell_former(names) %}
    {% set pairs = [] %}
    {% for name in names %}
        {% set there = distiller_udf._er_if_enabled(name) %}
        {% if there is not none %}
            {% do pairs.append("'" ~ name ~ "': " ~ distiller_udf._er_literal(there | string)) %}
        {% endif %}
    {% endfor %}
    {% do return('set variable er_former = map {' ~ pairs | join(', ') ~ '}') %}
{% endmacro %}
