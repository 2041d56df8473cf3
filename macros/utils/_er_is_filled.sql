{#- SQL: whether a text holds more than blanks, those of other scripts and none of any width included; NULL does not. -#}
{% macro _er_is_filled(text) -%}
{%- set blanks = [9, 10, 11, 12, 13, 32, 133, 160, 8199, 8203, 8239, 12288, 65279] -%}
{#- What begins with a printable sign of ASCII is: that costs next to nothing to see, and settles nearly all. -#}
case when {{ text }} >= '!' and {{ text }} < chr(127) then true else coalesce(trim({{ text }}, {% for blank in blanks %}chr({{ blank }}){{ ' || ' if not loop.last }}{% endfor %}) != '', false) end
{%- endmacro %}
