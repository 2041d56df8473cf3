{#- SQL that tells a Python model, on its connection, where the last run left these models; a pre-hook. -#}
{% macro _er_tell_former(names) %}
    {% set pairs = [] %}
    {% for name in names %}
        {% set there = distiller_udf._er_built(name) %}
        {% if there is not none %}
            {% do pairs.append("'" ~ name ~ "': " ~ distiller_udf._er_literal(there | string)) %}
        {% endif %}
    {% endfor %}
    {% do return('set variable er_former = map {' ~ pairs | join(', ') ~ '}') %}
{% endmacro %}
