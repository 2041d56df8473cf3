{#-
    The decisions: which scored pairs are the same entity, under a constraint and the links that a user gives.

    one_to_one                pairs from the most to the least probable, each record of a source matching one record of
                              another
    many_to_one, one_to_many  every left record with its most probable right record of each source
    none                      every pair

    Of the pairs whose choice_probability reaches the threshold.
-#}
{% macro er_matches(
    scores, records, sources, task='auto', constraint='auto', threshold=none, student=none, must_links=none,
    cannot_links=none, strict=false
) %}
    {{ return(adapter.dispatch('er_matches', 'distiller_udf')(
        scores, records, sources, task, constraint, threshold, student, must_links, cannot_links, strict
    )) }}
{% endmacro %}


{% macro duckdb__er_matches(
    scores, records, sources, task, constraint, threshold, student, must_links, cannot_links, strict
) %}
{%- set constraint = distiller_udf._er_constraint(constraint, distiller_udf._er_task(task, sources)) -%}
{%- set pair = distiller_udf._er_pair() -%}
{%- if threshold is none and student is none -%}
    {%- do distiller_udf._er_raise('er_matches has neither a threshold nor a student to take it from; pass one of them.') -%}
{%- endif -%}
with recursive

must_links as (
    {{ distiller_udf._er_links(must_links, records, sources, 'er_must_links', constraint) | indent }}
),

cannot_links as (
    {{ distiller_udf._er_links(cannot_links, records, sources, 'er_cannot_links', constraint) | indent }}
),

accepted as (
    select scores.*
    from {{ scores }} as scores
    {% if threshold is none -%}
    left join {{ student }} as students on scores.student = students.student
    {% endif -%}
    where coalesce(scores.choice_probability, scores.probability)
        >= {% if threshold is not none -%}
        {{ threshold }}
        {%- else -%}
        coalesce(
            students.choice_threshold,
            error(format(
                'er_matches: er_student does not know the student {} of er_scores; set er_threshold for scores of your own',
                scores.student
            ))
        )
        {%- endif %}
),

allowed as (
    select accepted.*
    from accepted
    anti join cannot_links using ({{ pair }})
    anti join must_links using ({{ pair }})
    {%- for side, other in distiller_udf._er_limited_sides(constraint) %}
    anti join must_links as {{ side }}_taken using ({{ side }}_source, {{ side }}_id, {{ other }}_source)
    {%- endfor %}
),

{% if constraint != 'none' -%}
{#- Equals go by a hash: in the order of the ids a long chain of them would be decided one by one, a round each. #}
ranked as (
    select
        *,
        row_number() over (
            order by coalesce(choice_probability, probability) desc, probability desc,
                hash({{ pair }}),
                {{ distiller_udf._er_source_rank('left_source', sources, constraint) }}, left_id,
                {{ distiller_udf._er_source_rank('right_source', sources, constraint) }}, right_id
        ) as priority
    from allowed
),

{% endif -%}
{% if constraint == 'one_to_one' -%}
ends as (
    select
        priority,
        dense_rank() over (order by left_source, left_id, right_source) as left_end,
        dense_rank() over (order by right_source, right_id, left_source) as right_end
    from ranked
),

{#- Pairs that are the first choice of both their ends are what a greedy pass would take; then the next round. #}
{%- set is_first -%}
    priority = min(priority) over (partition by left_end) and priority = min(priority) over (partition by right_end)
{%- endset %}
rounds as (
    select *, {{ is_first }} as is_taken from ends
    union all
    select priority, left_end, right_end, {{ is_first }} as is_taken
    from (
        select
            *,
            bool_or(is_taken) over (partition by left_end) or bool_or(is_taken) over (partition by right_end) as has_lost
        from rounds
    )
    where not has_lost
),

{% endif -%}
decided as (
    {% if constraint == 'one_to_one' -%}
    select * from ranked where priority in (select priority from rounds where is_taken)
    {%- elif constraint != 'none' -%}
    select * from ranked qualify row_number() over (partition by left_source, left_id, right_source order by priority) = 1
    {%- else -%}
    select * from allowed
    {%- endif %}
)

select {{ pair }}, probability, choice_probability, 'student' as decided_by
from decided

union all

select
    {{ distiller_udf._er_pair('must_links') }},
    scores.probability,
    scores.choice_probability,
    case
        when cannot_links.left_source is not null then error(format(
            'er_matches: the must-link {} – {} is a cannot-link as well; drop it from one of er_must_links and er_cannot_links',
            must_links.left_id, must_links.right_id
        ))
        else 'must_link'
    end as decided_by
from must_links
left join {{ scores }} as scores using ({{ pair }})
left join cannot_links using ({{ pair }})
where must_links.is_known
{%- if strict %}
{%- for links in ['must_links', 'cannot_links'] %}

{#- Rows of the result, so that they are looked at whatever else there is. #}
union all

select null, null, null, null, null, null, error('er_matches: ' || said || ', or set er_strict to false')
from ({{ distiller_udf._er_unknown_links(links, sources, 'er_' ~ links) | indent }})
{%- endfor %}
{%- endif %}
{% endmacro %}
