{#-
    What blocking, the decisions and the entities are worth against known matches; no rows where none are given. The
    entities are measured by the pairs of records that they put together, which the task may ask for.
-#}
{% macro er_metrics(
    matches, candidates, entities, records, sources, task='auto', gold=none, constraint='auto', strict=false
) %}
    {{ return(adapter.dispatch('er_metrics', 'distiller_udf')(
        matches, candidates, entities, records, sources, task, gold, constraint, strict
    )) }}
{% endmacro %}


{% macro duckdb__er_metrics(matches, candidates, entities, records, sources, task, gold, constraint, strict) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- if gold is none -%}
select cast(null as varchar) as metric, cast(null as double) as value
where false
{%- else -%}
with

gold as (
    {{ distiller_udf._er_links(gold, records, sources, 'er_gold', constraint) | indent }}
),

entity_pairs as (
    select {{ distiller_udf._er_count_pairs(task) }} as pairs
    from (select entity_id, source, count(*) as records from {{ entities }} group by entity_id, source)
    group by entity_id
),

counts as (
    select
        (select count(*) from gold) as gold_pairs,
        (select count(*) from {{ candidates }}) as candidate_pairs,
        (select count(*) from {{ matches }}) as matches,
        (select coalesce(sum(pairs), 0) from entity_pairs) as entity_pairs,
        (select count(*) from gold semi join {{ candidates }} using ({{ distiller_udf._er_pair() }})) as gold_candidates,
        (select count(*) from gold semi join {{ matches }} using ({{ distiller_udf._er_pair() }})) as true_matches,
        (
            select count(*) from gold
            {{ distiller_udf._er_with_records('gold', entities) | indent(12) }}
            where l.entity_id = r.entity_id
        ) as true_entity_pairs
),

measured as (
    select
        cast(gold_pairs as double) as gold_pairs,
        cast(candidate_pairs as double) as candidate_pairs,
        cast(matches as double) as matches,
        cast(true_matches as double) as true_matches,
        cast(gold_pairs - gold_candidates as double) as missed_by_blocking,
        gold_candidates / nullif(gold_pairs, 0) as blocking_recall,
        true_matches / nullif(matches, 0) as precision,
        true_matches / nullif(gold_pairs, 0) as recall,
        2 * true_matches / nullif(matches + gold_pairs, 0) as f1,
        true_entity_pairs / nullif(entity_pairs, 0) as entity_precision,
        true_entity_pairs / nullif(gold_pairs, 0) as entity_recall,
        2 * true_entity_pairs / nullif(entity_pairs + gold_pairs, 0) as entity_f1
    from counts
)

select metric, value
from measured unpivot include nulls (value for metric in (columns(*)))
{%- if strict %}

union all

select error('er_metrics: ' || said || ', or set er_strict to false'), null
from ({{ distiller_udf._er_unknown_links('gold', sources, 'er_gold') | indent }})
{%- endif %}
{%- endif %}
{% endmacro %}
