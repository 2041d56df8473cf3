{#- A data test: the student's matches keep to the constraint; links that a user forces may break it. -#}
{% test er_respects_constraint(model) %}
{% set er = distiller_udf._er_settings() %}
{% set constraint = distiller_udf._er_constraint(
    er['er_constraint'], distiller_udf._er_task(er['er_task'], er['er_sources'])
) %}

with decided as (
    select * from {{ model }} where decided_by = 'student'
),

repeated as (
    select left_source as source, cast(left_id as varchar) as id, right_source as other_source, count(*) as matches
    from decided
    where {{ 'true' if constraint != 'none' else 'false' }}
    group by left_source, left_id, right_source
    having count(*) > 1
    union all
    select right_source, cast(right_id as varchar), left_source, count(*)
    from decided
    where {{ 'true' if constraint == 'one_to_one' else 'false' }}
    group by right_source, right_id, left_source
    having count(*) > 1
)

select * from repeated
{% endtest %}
