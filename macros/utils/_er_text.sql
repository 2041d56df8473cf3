{#-
    SQL: a value of any type as text, as the Python package compares it: of what is nested its leaves, without names and
    null. Whatever has a type of its own is settled when the query is bound.
-#}
{% macro _er_text(value) -%}
case
    when regexp_matches(typeof({{ value }}), '^(STRUCT|MAP|UNION|JSON)|\]$')
        then {{ distiller_udf._er_leaf_text('to_json(' ~ value ~ ')') }}
    else cast({{ value }} as varchar)
end
{%- endmacro %}


{#- SQL: a text, or the leaves of the JSON that it holds; next to nothing where its first sign tells that it holds none. -#}
{% macro _er_text_or_leaves(text) -%}
case
    when ({{ text }} >= '[' and {{ text }} < '\' or {{ text }} >= '{' and {{ text }} < '|') and json_valid({{ text }})
        then {{ distiller_udf._er_leaf_text(text) }}
    else nullif({{ text }}, 'null')
end
{%- endmacro %}


{#-
    SQL: the leaves of JSON with a blank between them: names, null and signs become blanks, and so does what is escaped;
    numbers lose the zeros that end their decimals.
-#}
{% macro _er_leaf_text(json) -%}
regexp_replace(
    regexp_replace(
        json({{ json }}),
        '"(?:[^"\\]|\\.)*":|"((?:[^"\\]|\\.)*)"|null|(\.\d*[1-9])0*|\.0+|[\[\]{},]', '\1\2 ', 'g'
    ),
    '\\(u[0-9A-Fa-f]{4}|.)', ' ', 'g'
)
{%- endmacro %}
