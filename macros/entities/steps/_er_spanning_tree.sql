{#-
    SQL: the best spanning tree of every component of edges (a, b, priority; the best has the smallest priority, no two
    the same): the priorities of its edges. They are those that one pass from the best edge to the worst would take to
    connect the component (Kruskal's algorithm).

    Each round tosses a coin for every cluster of numbers, and those with tails join the one at the other end of their best
    edge if that has heads (Borůvka's algorithm with random mates): about a quarter of the clusters is gone after a round,
    whatever the shape of the component.
-#}
{% macro _er_spanning_tree(edges) -%}
with recursive

rounds as (
    select 0 as round, false as is_taken, a, b, priority from {{ edges }} where a != b
    union all
    select * from (
        with

        open_edges as materialized (
            select round, a, b, priority from rounds where not is_taken
        ),

        best as materialized (
            select round, a as cluster, arg_min(b, priority) as other, min(priority) as priority
            from (select round, a, b, priority from open_edges union all select round, b, a, priority from open_edges)
            group by round, a
        ),

        joined as materialized (
            select cluster, other as joins, priority
            from best
            where {{ distiller_udf._er_drawn('cluster') }} % 2 = 0 and {{ distiller_udf._er_drawn('other') }} % 2 = 1
        )

        {{ distiller_udf._er_contracted('is_taken', 'open_edges.priority') | indent(8) }}

        union all

        select open_edges.round + 1, true, open_edges.a, open_edges.b, open_edges.priority
        from open_edges
        semi join joined using (priority)
    )
)

select priority
from rounds
where is_taken
{%- endmacro %}
