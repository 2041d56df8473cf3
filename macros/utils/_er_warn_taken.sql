{#-
    Log where one_to_one seems to be the wrong constraint; a post-hook of er_matches. A record without a match may have a
    likely one whose partner has gone to another record: one that is a match by itself and no less likely than three
    quarters of the matches. Of data that are one to one there are few such records, for what tells a match tells its rivals
    apart; where they are a tenth as many as the matches, and ten at least, it is said, with the setting that would fit.
-#}
{% macro _er_warn_taken(matches, choices, students) %}
    {% set er = distiller_udf._er_settings() %}
    {% if not execute or distiller_udf._er_constraint(er['er_constraint'], distiller_udf._er_task(er['er_task'], er['er_sources'])) != 'one_to_one' %}
        {% do return('') %}
    {% endif %}
    {% for side, other, constraint in [('left', 'right', 'many_to_one'), ('right', 'left', 'one_to_many')] %}
        {% for source, other_source, lost, matched in run_query(distiller_udf._er_taken(
            matches, choices, students, er['er_threshold'], side, other
        )) %}
            {% do exceptions.warn(
                'distiller_udf: ' ~ lost ~ ' records of ' ~ source ~ ' have a likely match in ' ~ other_source
                ~ ' and get none, for it went to another record: one_to_one lets each of the two sources\' records match one of the '
                ~ 'other at most, as ' ~ matched ~ ' do. If many records of ' ~ source ~ ' belong to one of ' ~ other_source
                ~ ', set er_constraint: ' ~ constraint ~ '.'
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

usual as (
    select left_source, right_source, count(*) as matches, quantile_cont(probability, 0.25) as probability
    from matched
    group by left_source, right_source
),

likely as (
    select choices.*, usual.matches
    from {{ choices }} as choices
    inner join usual using (left_source, right_source)
    left join {{ students }} as students on choices.student = students.student
    where choices.probability >= greatest(usual.probability, {{ threshold if threshold is not none else 'students.threshold' }})
)

select likely.{{ side }}_source, likely.{{ other }}_source, count(distinct likely.{{ side }}_id) as lost, any_value(likely.matches) as matched
from likely
anti join {{ matches }} as own using ({{ side }}_source, {{ side }}_id, {{ other }}_source)
semi join matched as taken using ({{ other }}_source, {{ other }}_id, {{ side }}_source)
group by likely.{{ side }}_source, likely.{{ other }}_source
having lost >= greatest(10, 0.1 * matched)
order by all
{%- endmacro %}
