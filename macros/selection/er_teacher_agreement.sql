{#- How far the teachers agree, two by two: on which candidate pairs they say the same, and how far beyond chance. -#}
{% macro er_teacher_agreement(labels, votes=none) %}
    {{ return(adapter.dispatch('er_teacher_agreement', 'distiller_udf')(labels, votes)) }}
{% endmacro %}


{% macro duckdb__er_teacher_agreement(labels, votes) %}
with

shown as (
    select
        left_source,
        left_id,
        teacher,
        ask,
        choice,
        unnest(options) as candidate,
        generate_subscripts(options, 1) as position,
        {#- Pairs asked by themselves have a probability each; a list may be NULL and is then padded with NULLs. #}
        unnest(list_resize(coalesce(probabilities, []), len(options))) as probability
    from {{ labels }}
    {%- if votes %}
    where teacher in (select unnest(teachers) from {{ votes }})
    {%- endif %}
),

{#- Whether a teacher says of a pair that it matches; NULL where it does not say. #}
judged as (
    select
        left_source,
        left_id,
        teacher,
        candidate.source as right_source,
        candidate.id as right_id,
        case
            when ask = 'match' and probability != 0.5 then probability > 0.5
            when ask = 'match' and choice = 0 and probability is null then false
            when ask is distinct from 'match' then choice = position
        end as is_match
    from shown
),

answers as (
    select {{ distiller_udf._er_pair() }}, teacher, any_value(is_match) as is_match
    from judged
    where is_match is not null
    group by {{ distiller_udf._er_pair() }}, teacher
),

counted as (
    select
        a.teacher as teacher_a,
        b.teacher as teacher_b,
        count(*) as pairs,
        count(*) filter (a.is_match = b.is_match) as agreeing,
        count(*) filter (a.is_match) as matches_a,
        count(*) filter (b.is_match) as matches_b,
        {#- What chance alone would make agree, had each teacher said yes as often as it did. #}
        (cast(matches_a as double) * matches_b + cast(pairs - matches_a as double) * (pairs - matches_b)) / pairs
            as agreeing_by_chance
    from answers as a
    inner join answers as b using ({{ distiller_udf._er_pair() }})
    where a.teacher < b.teacher
    group by a.teacher, b.teacher
)

select
    teacher_a,
    teacher_b,
    pairs,
    agreeing / pairs as agreement,
    {#- Cohen's kappa (1960). Two teachers who always say one and the same have none. #}
    (agreeing - agreeing_by_chance) / nullif(pairs - agreeing_by_chance, 0) as kappa
from counted
{% endmacro %}
