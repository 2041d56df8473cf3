{#-
    Every record with its entity: the connected components of the matches.

    Each round draws a random order of the records, contracts every record into the first of its neighbours, and goes on
    with the edges that are left. The expected number of rounds grows with the logarithm of the longest chain
    (Bögeholz, Brand, Todor: In-database connected component analysis, 2020), where a label handed from neighbour to
    neighbour would need as many rounds as the chain is long. An entity is named after its first record, so neither the
    draw nor the order of the rows shows in the result.
-#}
{% macro er_entities(matches, records, sources) %}
    {{ return(adapter.dispatch('er_entities', 'distiller_udf')(matches, records, sources)) }}
{% endmacro %}


{% macro default__er_entities(matches, records, sources) %}
    {% do distiller_udf._er_not_supported('er_entities') %}
{% endmacro %}


{% macro duckdb__er_entities(matches, records, sources) %}
with recursive

matches as (
    select * from {{ matches }}
),

numbered as materialized (
    select
        row_number() over (order by {{ distiller_udf._er_source_rank('source', sources) }}, id) as n,
        source,
        id
    from {{ records }}
),

edges as materialized (
    select l.n as a, r.n as b
    from matches
    inner join numbered as l on matches.left_source = l.source and matches.left_id = l.id
    inner join numbered as r on matches.right_source = r.source and matches.right_id = r.id
),

{#- An edge is (a, b) between two records that stand for others; a label says that record a now stands under b. #}
rounds as (
    select 0 as round, false as is_label, a, b from edges where a != b
    union all
    select 0, false, b, a from edges where a != b
    union all
    select distinct 0, true, a, a from (select a from edges union all select b from edges)
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
                {#- The smallest of the neighbours and of the record itself, in this round's order. #}
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
),

components as (
    select a as n, b as component
    from rounds
    where is_label and round = (select max(round) from rounds)
),

assigned as (
    select
        numbered.n,
        numbered.source,
        numbered.id,
        min(numbered.n) over (partition by coalesce(components.component, numbered.n)) as first_n,
        count(*) over (partition by coalesce(components.component, numbered.n)) as entity_size
    from numbered
    left join components using (n)
)

select
    assigned.source,
    assigned.id,
    first_records.source || ':' || cast(first_records.id as varchar) as entity_id,
    assigned.entity_size
from assigned
inner join numbered as first_records on assigned.first_n = first_records.n
{% endmacro %}
