{#-
    SQL: what a round draws for a number below 2^32, 64 bits by chance. Both make one number first: hash(number, round) has
    the same bits in every round but for a pattern that all numbers share.
-#}
{% macro _er_drawn(number) -%}
hash({{ number }}::ubigint + round::ubigint * 4294967296)
{%- endmacro %}


{#- SQL: a number behind its place in the random order of a round, in one integer: the first of them costs no sort. -#}
{% macro _er_placed(number) -%}
{{ distiller_udf._er_drawn(number) }} // 4294967296 * 4294967296 + {{ number }}
{%- endmacro %}
