{#-
    Where a model (or package.model; a relation stays as it is) is; none where the project has no such model or, but where it
    is needed anyway, has not built it yet. The project's own models come before this package's.

    It is no reference: what calls this must come after that model by another way. A data test that refers to two models
    is selected with either of them, also where the other one is not there or no longer fits.
-#}
{% macro _er_built(name, needed=false) %}
    {% if name is not string or not execute %}
        {% do return(none if name is string else name) %}
    {% endif %}
    {% set parts = name.split('.') %}
    {% for package in parts[:-1] or [project_name, 'distiller_udf'] %}
        {% for node in graph.nodes.values()
            if node.resource_type in ('model', 'seed', 'snapshot') and node.name == parts[-1] and node.package_name == package %}
            {% set there = adapter.get_relation(node.database, node.schema, node.alias) %}
            {% set place = node.get('defer_relation') or (node if needed else none) %}
            {% do return(there or (
                api.Relation.create(database=place['database'], schema=place['schema'], identifier=place['alias']) if place else none
            )) %}
        {% endfor %}
    {% endfor %}
    {% do return(none) %}
{% endmacro %}
