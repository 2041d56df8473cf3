{#- Raise for names that a variable holds and that are no columns of the records in a relation, as far as these are known. -#}
{% macro _er_check_columns(variable, columns, relation) %}
    {% set there = adapter.get_columns_in_relation(relation) if execute and columns else [] %}
    {% set names = there | map(attribute='name') | reject('in', ['source', 'id', 'fingerprint']) | list %}
    {% set known = names | map('lower') | list %}
    {% for column in columns or [] if names and (column | lower) not in known %}
        {% do distiller_udf._er_raise(
            variable ~ ' has ' ~ column ~ ', which is no column of ' ~ relation.identifier
            ~ distiller_udf._er_allowed(column, names)
        ) %}
    {% endfor %}
{% endmacro %}
