{#-
    How many pairs each way of blocking will propose, from counts of records and of equal values; no pair is made.

    Exact for equal and identical: before a pair that several ways find is one, and before a left record keeps its best
    candidates only. For the nearest it is the bound that top k sets, for sorted the one that the window sets, for minhash
    the pairs of all bands together, for all that of its smallest part.
-#}
{% macro er_blocking_estimate(
    records, blocking_records, sources, terms={}, task='auto', constraint='auto', blocking='auto', rules=[], top_k=6,
    mode='auto', max_block=100
) %}
    {{ return(adapter.dispatch('er_blocking_estimate', 'distiller_udf')(
        records, blocking_records, sources, terms, task, constraint, blocking, rules, top_k, mode, max_block
    )) }}
{% endmacro %}


{% macro duckdb__er_blocking_estimate(
    records, blocking_records, sources, terms, task, constraint, blocking, rules, top_k, mode, max_block
) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- set mode = distiller_udf._er_blocking_mode(mode, distiller_udf._er_constraint(constraint, task)) -%}
{%- set ways = distiller_udf._er_ways(blocking, rules, top_k, mode, max_block) -%}
with

records as (
    select * from {{ records }}
),

numbered as (
    select * from {{ blocking_records }}
),

{% for name, relation in terms.items() -%}
{{ name }} as (
    select * from {{ relation }}
),

{% endfor -%}
sizes as materialized (
    select source_rank, count(*) as records
    from numbered
    group by source_rank
),

meetings as materialized (
    select
        l.records as l_records,
        r.records as r_records,
        l.source_rank = r.source_rank as is_within,
        case when is_within then l.records * (l.records - 1) // 2 else l.records * r.records end as pairs
    from sizes as l
    inner join sizes as r on l.source_rank <= r.source_rank and {{ distiller_udf._er_may_meet(task) }}
),

estimates as (
    {% for way in ways -%}
    {{ 'union all ' if not loop.first }}select
        {{ distiller_udf._er_literal(way['name']) }} as way,
        {{ distiller_udf._er_literal(way['kind']) }} as kind,
        *
    from ({{ distiller_udf._er_estimated(way, task) }})
    {% endfor %}
)

select
    way,
    kind,
    cast(coalesce(pairs, 0) as bigint) as pairs,
    kind in ('equal', 'identical') as is_exact,
    cast(coalesce(skipped_pairs, 0) as bigint) as skipped_pairs,
    coalesce(largest_blocks, []) as largest_blocks,
    (select cast(coalesce(sum(pairs), 0) as bigint) from meetings) as all_pairs
from estimates
{% endmacro %}
