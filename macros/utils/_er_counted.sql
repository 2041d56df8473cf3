{#- A number with what it counts, as in `1 record` and `1,500 records`; `several` is the plural. -#}
{% macro _er_counted(number, one, several=none) %}
    {% do return('{:,} {}'.format(number, one if number == 1 else several or one ~ 's')) %}
{% endmacro %}
