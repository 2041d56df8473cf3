{#-
    Why each candidate pair is a match or not, and whether its records are in one entity: what er_matches and er_entities
    have decided, told. A must-link that is no candidate has a row too.

    A pair that would be a match by itself, or reaches the threshold among its rivals, loses to a rival: to a match that has
    one of its records. Of two, each of one record, the likelier one was taken first. Without a constraint it loses to what
    the records around both say.
-#}
{% macro er_decisions(
    choices, matches, entities, records, sources, task='auto', constraint='auto', threshold=none, student=none,
    max_size=none, cannot_links=none
) %}
    {{ return(adapter.dispatch('er_decisions', 'distiller_udf')(
        choices, matches, entities, records, sources, task, constraint, threshold, student, max_size, cannot_links
    )) }}
{% endmacro %}


{% macro duckdb__er_decisions(
    choices, matches, entities, records, sources, task, constraint, threshold, student, max_size, cannot_links
) %}
{%- set constraint = distiller_udf._er_constraint(constraint, distiller_udf._er_task(task, sources)) -%}
{%- set sides = distiller_udf._er_limited_sides(constraint) -%}
{%- set pair = distiller_udf._er_pair() -%}
with

cannot_links as (
    {{ distiller_udf._er_links(cannot_links, records, sources, 'er_cannot_links', constraint) | indent }}
),

pairs as (
    select
        {{ pair }},
        coalesce(choices.probability, matches.probability) as probability,
        coalesce(choices.choice_probability, matches.choice_probability) as choice_probability,
        coalesce(choices.choice_probability, choices.probability) as decisive,
        cast({{ threshold if threshold is not none else 'students.choice_threshold' }} as double) as threshold,
        cast({{ threshold if threshold is not none else 'students.threshold' }} as double) as own_threshold,
        matches.decided_by as matched_by
    from {{ choices }} as choices
    full join {{ matches }} as matches using ({{ pair }})
    {% if threshold is none -%}
    left join {{ student }} as students on choices.student = students.student
    {%- endif %}
),

{#- Of a pair whose left record has a match, the rival is that match's right record, and the other way round. #}
lost as (
    select {{ pair }}, max(rival) as rival
    from (
        {% for side, other in sides or [('left', 'right')] -%}
        {{ 'union all ' if not loop.first }}select
            {{ distiller_udf._er_pair('pairs') }},
            {
                'is_must': taken.matched_by = 'must_link',
                'probability': coalesce(taken.decisive, taken.probability),
                'side': '{{ other }}',
                'source': taken.{{ other }}_source,
                'id': taken.{{ other }}_id
            } as rival
        from pairs
        inner join pairs as taken using ({{ side }}_source, {{ side }}_id, {{ other }}_source)
        where {{ 'pairs.matched_by is null and taken.matched_by is not null' if sides else 'false' }}
        {% endfor %}
    )
    group by {{ pair }}
),

entities as (
    select source, id, entity_id, entity_size, list(source) over (partition by entity_id) as sources from {{ entities }}
),

entities_apart as (
    select distinct l.entity_id as a, r.entity_id as b
    from cannot_links
    {{ distiller_udf._er_with_records('cannot_links', 'entities') | indent }}
),

told as (
    select
        {{ pair }},
        pairs.* exclude ({{ pair }}),
        lost.rival,
        cannot_links.left_source is not null as is_cannot_link,
        l.entity_id = r.entity_id as same_entity,
        {#- A match is kept apart by the first of these limits that the two entities would break as one. #}
        case
            when l.entity_id = r.entity_id then cast(null as varchar)
            when exists (
                select 1 from entities_apart where (a, b) in ((l.entity_id, r.entity_id), (r.entity_id, l.entity_id))
            ) then 'cannot_link'
            {% if constraint == 'one_to_one' -%}
            when list_has_any(l.sources, r.sources) then 'one_of_each_source'
            {% endif -%}
            {% if max_size is not none -%}
            when l.entity_size + r.entity_size > {{ max_size }} then 'max_size'
            {% endif -%}
        end as limited_by
    from pairs
    {{ distiller_udf._er_with_records('pairs', 'entities', 'left join') | indent }}
    left join lost using ({{ pair }})
    left join cannot_links using ({{ pair }})
)

select
    {{ pair }},
    matched_by is not null as is_match,
    case when is_cannot_link then 'cannot_link' else coalesce(matched_by, 'student') end as decided_by,
    case
        when matched_by = 'must_link' then 'must_link'
        when matched_by is not null then 'match'
        when is_cannot_link then 'cannot_link'
        when decisive is null then 'nothing_to_compare'
        {% if constraint == 'none' -%}
        when decisive < threshold and probability >= own_threshold then 'group'
        {% endif -%}
        when decisive < threshold and (rival is null or probability < own_threshold) then 'threshold'
        when rival.is_must then 'taken_by_must_link'
        else 'rival'
    end as reason,
    probability,
    choice_probability,
    threshold,
    rival.side as rival_side,
    rival.source as rival_source,
    rival.id as rival_id,
    rival.probability as rival_probability,
    same_entity,
    case when matched_by is not null then limited_by end as kept_apart_by
from told
{% endmacro %}
