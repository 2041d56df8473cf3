{#-
    Where a model of this package is, none where a project has disabled it or has not built it yet. It is no reference:
    what calls this must refer to something that is built after that model.
-#}
{% macro _er_if_enabled(name) %}
    {% if execute %}
        {% for node in graph.nodes.values()
            if node.resource_type == 'model' and node.name == name and node.package_name == 'distiller_udf' %}
            {% do return(adapter.get_relation(node.database, node.schema, node.alias)) %}
        {% endfor %}
    {% endif %}
    {% do return(none) %}
{% endmacro %}
