{#-
    The decisions: which scored pairs are the same entity, under a constraint and the links that a user gives.

    one_to_one   pairs from the most to the least probable, each record of a source matching one record of another
    many_to_one  every left record with its most probable right record of each source
    none         every pair

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


{% macro default__er_matches(
    scores, records, sources, task, constraint, threshold, student, must_links, cannot_links, strict
) %}
    {% do distiller_udf._er_not_supported('er_matches') %}
{% endmacro %}


{% macro duckdb__er_matches(
    scores, records, sources, task, constraint, threshold, student, must_links, cannot_links, strict
) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- set constraint = distiller_udf._er_constraint(constraint, task) -%}
{%- if threshold is none and student is none -%}
    {%- do distiller_udf._er_raise('er_matches has neither a threshold nor a student to take it from; pass one of them.') -%}
{%- endif -%}
with recursive

scores as (
    select * from {{ scores }}
),

{% if threshold is none -%}
students as (
    select * from {{ student }}
),

{% endif -%}
{% if must_links is not none -%}
must_links as (
    {{ distiller_udf._er_links(must_links, records, sources, 'er_must_links') | indent }}
),

{% endif -%}
{% if cannot_links is not none -%}
cannot_links as (
    {{ distiller_udf._er_links(cannot_links, records, sources, 'er_cannot_links') | indent }}
),

{% endif -%}
accepted as (
    select scores.*
    from scores
    {% if threshold is none -%}
    left join students on scores.student = students.student
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
    {% if cannot_links is not none -%}
    anti join cannot_links using (left_source, left_id, right_source, right_id)
    {% endif -%}
    {% if must_links is not none -%}
    anti join must_links using (left_source, left_id, right_source, right_id)
    {% if constraint != 'none' -%}
    anti join must_links as left_taken using (left_source, left_id, right_source)
    {% endif -%}
    {% if constraint == 'one_to_one' -%}
    anti join must_links as right_taken using (left_source, right_source, right_id)
    {% endif -%}
    {% endif %}
),

{% if constraint == 'none' -%}
decided as (
    select * from allowed
),
{%- else -%}
{#- Equals go by a hash: in the order of the ids a long chain of them would be decided one by one, a round each. #}
ranked as (
    select
        *,
        row_number() over (
            order by coalesce(choice_probability, probability) desc, probability desc,
                hash(left_source, left_id, right_source, right_id),
                {{ distiller_udf._er_source_rank('left_source', sources) }}, left_id,
                {{ distiller_udf._er_source_rank('right_source', sources) }}, right_id
        ) as priority
    from allowed
),
{% if constraint == 'many_to_one' %}
decided as (
    select * exclude (priority)
    from ranked
    qualify row_number() over (partition by left_source, left_id, right_source order by priority) = 1
),
{%- else %}
ends as (
    select
        priority,
        dense_rank() over (order by left_source, left_id, right_source) as left_end,
        dense_rank() over (order by right_source, right_id, left_source) as right_end
    from ranked
),

{#- Pairs that are the first choice of both their ends are what a greedy pass would take; then the next round. #}
rounds as (
    select
        priority,
        left_end,
        right_end,
        priority = min(priority) over (partition by left_end)
            and priority = min(priority) over (partition by right_end) as is_taken
    from ends
    union all
    select
        priority,
        left_end,
        right_end,
        priority = min(priority) over (partition by left_end)
            and priority = min(priority) over (partition by right_end) as is_taken
    from (
        select
            priority,
            left_end,
            right_end,
            bool_or(is_taken) over (partition by left_end) as left_is_taken,
            bool_or(is_taken) over (partition by right_end) as right_is_taken
        from rounds
    )
    where not left_is_taken and not right_is_taken
),

decided as (
    select * exclude (priority)
    from ranked
    where priority in (select priority from rounds where is_taken)
),
{%- endif %}
{%- endif %}

matches as (
    select
        left_source,
        left_id,
        right_source,
        right_id,
        probability,
        choice_probability,
        'student' as decided_by
    from decided
    {% if must_links is not none -%}
    union all
    select
        must_links.left_source,
        must_links.left_id,
        must_links.right_source,
        must_links.right_id,
        scores.probability,
        scores.choice_probability,
        case
            {% if cannot_links is not none -%}
            when cannot_links.left_source is not null then error(format(
                'er_matches: the must-link {} – {} is a cannot-link as well; drop it from one of er_must_links and er_cannot_links',
                must_links.left_id, must_links.right_id
            ))
            {% endif -%}
            when not must_links.is_known then error(format(
                'er_matches: the must-link {} – {} names a record that does not exist; correct er_must_links, or set er_strict to false',
                must_links.unknown_left_id, must_links.unknown_right_id
            ))
            else 'must_link'
        end as decided_by
    from must_links
    left join scores using (left_source, left_id, right_source, right_id)
    {% if cannot_links is not none -%}
    left join cannot_links using (left_source, left_id, right_source, right_id)
    {% endif -%}
    where {{ 'true' if strict else 'must_links.is_known' }}
    {%- endif %}
)

select * from matches
{% endmacro %}
