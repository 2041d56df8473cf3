{#- SQL: when this run of dbt began, in UTC; the same in all its models. -#}
{% macro _er_now() -%}
timestamp '{{ run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f') }}'
{%- endmacro %}
