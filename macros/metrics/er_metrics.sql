{#-
    What blocking, the decisions and the entities are worth against known matches; no rows where none are given. The
    entities are measured by the pairs of records that they put together, which the task may ask for.
-#}
{% macro er_metrics(matches, candidates, entities, records, sources, task='auto', gold=none) %}
    {{ return(adapter.dispatch('er_metrics', 'distiller_udf')(
        matches, candidates, entities, records, sources, task, gold
    )) }}
{% endmacro %}


{% macro default__er_metrics(matches, candidates, entities, records, sources, task, gold) %}
    {% do distiller_udf._er_not_supported('er_metrics') %}
{% endmacro %}


{% macro duckdb__er_metrics(matches, candidates, entities, records, sources, task, gold) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- if gold is none -%}
select cast(null as varchar) as metric, cast(null as double) as value
where false
{%- else -%}
with

matches as (
    select * from {{ matches }}
),

candidates as (
    select * from {{ candidates }}
),

gold as (
    {{ distiller_udf._er_links(gold, records, sources, 'er_gold') | indent }}
),

members as (
    select entity_id, source, count(*) as records
    from {{ entities }}
    group by entity_id, source
),

entity_pairs as (
    select
        {#- All pairs of an entity, those within its sources, or what is left without these. #}
        {% set all_pairs = 'sum(records) * (sum(records) - 1)' -%}
        {% set within = 'sum(records * (records - 1))' -%}
        ({{ {'link': all_pairs ~ ' - ' ~ within, 'dedupe': within, 'link_and_dedupe': all_pairs}[task] }}) / 2 as pairs
    from members
    group by entity_id
),

counts as (
    select
        (select count(*) from gold) as gold_pairs,
        (select count(*) from candidates) as candidate_pairs,
        (select count(*) from matches) as matches,
        (select coalesce(sum(pairs), 0) from entity_pairs) as entity_pairs,
        (
            select count(*) from gold
            semi join candidates using (left_source, left_id, right_source, right_id)
        ) as gold_candidates,
        (
            select count(*) from gold
            semi join matches using (left_source, left_id, right_source, right_id)
        ) as true_matches,
        (
            select count(*) from gold
            inner join {{ entities }} as l on gold.left_source = l.source and gold.left_id = l.id
            inner join {{ entities }} as r on gold.right_source = r.source and gold.right_id = r.id
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
{%- endif %}
{% endmacro %}
