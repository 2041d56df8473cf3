{#-
    SQL: the connected components of edges between numbers below 2^32, a and b; a row for each number that has an edge,
    with one of its component's as its component.

    Each round draws a random order of the numbers, contracts every one into the first of its neighbours and itself, and
    goes on with the edges that are left. The expected number of rounds grows with the logarithm of the longest chain
    (Bögeholz, Brand, Todor: In-database connected component analysis, 2020), where a label handed from neighbour to
    neighbour would need as many rounds as the chain is long. Then the rounds are followed from the last to the first:
    each looks only at the numbers that were still there, of which there are fewer each time.
-#}
{% macro _er_components(edges) -%}
with recursive

{#- An edge is (a, b) between two numbers that stand for others; a choice says that a is contracted into b. #}
rounds as (
    select 0 as round, false as is_choice, a, b from {{ edges }} where a != b
    union all
    select * from (
        with

        open_edges as materialized (
            select round, a, b from rounds where not is_choice
        ),

        chosen as materialized (
            select
                round + 1 as round,
                a,
                cast(least(min({{ distiller_udf._er_placed('b') }}), {{ distiller_udf._er_placed('a') }}) % 4294967296 as uinteger) as b
            from (select round, a, b from open_edges union all select round, b, a from open_edges)
            group by round, a
        )

        select round, true as is_choice, a, b
        from chosen

        union all

        select distinct l.round, false, least(l.b, r.b), greatest(l.b, r.b)
        from open_edges
        inner join chosen as l on open_edges.a = l.a
        inner join chosen as r on open_edges.b = r.a
        where l.b != r.b
    )
),

choices as materialized (
    select round, a, b from rounds where is_choice
),

{#- Who was contracted into whom in the end, of those that were there in a round. #}
followed as (
    select round, a, b from choices where round = (select max(round) from choices)
    union all
    select choices.round, choices.a, coalesce(followed.b, choices.b)
    from choices
    left join followed on choices.b = followed.a
    where choices.round = (select max(round) - 1 from followed)
)

select a as n, b as component
from followed
where round = 1
{%- endmacro %}

