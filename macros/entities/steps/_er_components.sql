{#-
    SQL: the connected components of edges between numbers, a and b; a row for each number that has an edge, with one of
    its component's as its component.

    Each round draws a random order of the numbers, contracts every one into the first of its neighbours, and goes on
    with the edges that are left. The expected number of rounds grows with the logarithm of the longest chain
    (Bögeholz, Brand, Todor: In-database connected component analysis, 2020), where a label handed from neighbour to
    neighbour would need as many rounds as the chain is long.
-#}
{% macro _er_components(edges) -%}
with recursive

{#- An edge is (a, b) between two numbers that stand for others; a label says that number a now stands under b. #}
rounds as (
    select 0 as round, false as is_label, a, b from {{ edges }} where a != b
    union all
    select 0, false, b, a from {{ edges }} where a != b
    union all
    select distinct 0, true, a, a from (select a from {{ edges }} union all select b from {{ edges }})
    union all
    select * from (
        with

        open_edges as materialized (
            select round, a, b from rounds where not is_label
        ),

        chosen as materialized (
            select
                a,
                max(round) as round,
                {#- The smallest of the neighbours and of the number itself, in this round's order. #}
                case
                    when min(hash(b, round)) < any_value(hash(a, round)) then arg_min(b, hash(b, round))
                    else a
                end as b
            from open_edges
            group by a
        )

        select distinct l.round + 1 as round, false as is_label, l.b as a, r.b as b
        from open_edges
        inner join chosen as l on open_edges.a = l.a
        inner join chosen as r on open_edges.b = r.a
        where l.b != r.b

        union all

        select
            labels.round + 1 as round,
            true as is_label,
            labels.a,
            coalesce(chosen.b, labels.b) as b
        from rounds as labels
        left join chosen on labels.b = chosen.a
        where labels.is_label and exists (select 1 from open_edges)
    )
)

select a as n, b as component
from rounds
where is_label and round = (select max(round) from rounds)
{%- endmacro %}
