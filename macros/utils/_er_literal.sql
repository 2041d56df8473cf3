{#- A text as an SQL literal. -#}
{% macro _er_literal(value) -%}
    '{{ (value | string).replace("'", "''") }}'
{%- endmacro %}


{#- A column name as an SQL identifier, whatever it contains. -#}
{% macro _er_quote(name) %}
    {% do return('"' ~ (name | string).replace('"', '""') ~ '"') %}
{% endmacro %}
