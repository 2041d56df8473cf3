{#-
    Log where one_to_one seems to be the wrong constraint; a post-hook of er_matches. A record without a match may have a
    pair that is one by itself, with a partner that has gone to another record. Of data that are one to one there are few
    such records, for what tells a match tells its rivals apart; where there are a tenth as many as matches, and ten at
    least, it is said, with the setting that would fit.
-#}
{% macro _er_warn_taken(matches, choices, students) %}
    {% set er = distiller_udf._er_settings() %}
    {% set constraint = distiller_udf._er_constraint(er['er_constraint'], distiller_udf._er_task(er['er_task'], er['er_sources'])) %}
    {% for side, other, fitting in [('left', 'right', 'many_to_one'), ('right', 'left', 'one_to_many')]
        if execute and constraint == 'one_to_one' %}
        {% set taken = distiller_udf._er_taken(matches, choices, students, er['er_threshold'], side, other) %}
        {% for source, other_source, lost, found in run_query(taken) %}
            {% do exceptions.warn(
                'distiller_udf: the data look ' ~ fitting ~ ': beside ' ~ found ~ ' matches, ' ~ lost ~ ' records of ' ~ source
                ~ ' have a likely match in ' ~ other_source ~ ' that went to another record, for er_constraint is one_to_one. If '
                ~ 'many of ' ~ source ~ ' may be one of ' ~ other_source ~ ', set er_constraint: ' ~ fitting ~ '.'
            ) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}


{#- SQL: by sources, how many records of a side have lost a likely match to others, where these are many; and the matches. -#}
{% macro _er_taken(matches, choices, students, threshold, side, other) -%}
with

matched as (
    select * from {{ matches }} where decided_by = 'student'
),

sizes as (
    select left_source, right_source, count(*) as matches
    from matched
    group by left_source, right_source
),

likely as (
    select choices.*, sizes.matches
    from {{ choices }} as choices
    inner join sizes using (left_source, right_source)
    {%- if threshold is none %}
    left join {{ students }} as students on choices.student = students.student
    {%- endif %}
    where choices.probability >= {{ threshold if threshold is not none else 'students.threshold' }}
)

select
    likely.{{ side }}_source,
    likely.{{ other }}_source,
    count(distinct likely.{{ side }}_id) as lost,
    any_value(likely.matches) as matches
from likely
anti join {{ matches }} as own using ({{ side }}_source, {{ side }}_id, {{ other }}_source)
semi join matched as taken using ({{ other }}_source, {{ other }}_id, {{ side }}_source)
group by likely.{{ side }}_source, likely.{{ other }}_source
having lost >= greatest(10, 0.1 * any_value(likely.matches))
order by all
{%- endmacro %}
