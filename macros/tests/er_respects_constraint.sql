{#- A data test: the student's matches keep to the constraint; links that a user forces may break it. -#}
{% test er_respects_constraint(model) %}
{% set er = distiller_udf._er_settings() %}
{% set constraint = distiller_udf._er_constraint(
    er['er_constraint'], distiller_udf._er_task(er['er_task'], er['er_sources'])
) %}

{% for side, other in distiller_udf._er_limited_sides(constraint) -%}
{{ 'union all ' if not loop.first }}select
    {{ side }}_source as source,
    cast({{ side }}_id as varchar) as id,
    {{ other }}_source as other_source,
    count(*) as matches
from {{ model }}
where decided_by = 'student'
group by {{ side }}_source, {{ side }}_id, {{ other }}_source
having count(*) > 1
{% else -%}
select 1 as nothing_to_test where false
{%- endfor %}
{% endtest %}
