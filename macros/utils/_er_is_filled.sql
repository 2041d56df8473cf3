{#- SQL: whether a text holds more than blanks; NULL does not. -#}
{% macro _er_is_filled(text) -%}
coalesce(trim({{ text }}, ' ' || chr(9) || chr(10) || chr(13)) != '', false)
{%- endmacro %}
