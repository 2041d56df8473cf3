{#- SQL: the condition under which the task lets two numbered records be a pair, whichever comes first. -#}
{% macro _er_may_meet(task, l='l', r='r') -%}
    {%- if task == 'link' %}{{ l }}.source_rank != {{ r }}.source_rank
    {%- elif task == 'dedupe' %}{{ l }}.source_rank = {{ r }}.source_rank
    {%- else %}true{% endif %}
{%- endmacro %}
