{#- What blocking and the decisions are worth against known matches; no rows where none are given. -#}
{% macro er_metrics(matches, candidates, records, sources, gold=none) %}
    {{ return(adapter.dispatch('er_metrics', 'distiller_udf')(matches, candidates, records, sources, gold)) }}
{% endmacro %}


{% macro default__er_metrics(matches, candidates, records, sources, gold) %}
    {% do distiller_udf._er_not_supported('er_metrics') %}
{% endmacro %}


{% macro duckdb__er_metrics(matches, candidates, records, sources, gold) %}
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

counts as (
    select
        (select count(*) from gold) as gold_pairs,
        (select count(*) from candidates) as candidate_pairs,
        (select count(*) from matches) as matches,
        (
            select count(*) from gold
            semi join candidates using (left_source, left_id, right_source, right_id)
        ) as gold_candidates,
        (
            select count(*) from gold
            semi join matches using (left_source, left_id, right_source, right_id)
        ) as true_matches
),

metrics as (
    unpivot (
        select
            cast(gold_pairs as double) as gold_pairs,
            cast(candidate_pairs as double) as candidate_pairs,
            cast(matches as double) as matches,
            cast(true_matches as double) as true_matches,
            cast(gold_pairs - gold_candidates as double) as missed_by_blocking,
            gold_candidates / nullif(gold_pairs, 0) as blocking_recall,
            true_matches / nullif(matches, 0) as precision,
            true_matches / nullif(gold_pairs, 0) as recall,
            2 * true_matches / nullif(matches + gold_pairs, 0) as f1
        from counts
    )
    on columns(*) into name metric value value
)

select metric, value from metrics
{%- endif %}
{% endmacro %}
