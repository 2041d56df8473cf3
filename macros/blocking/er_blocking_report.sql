{#-
    What each way of blocking was worth: its pairs, those that no other way proposes, and how many of the matches that
    are known it finds, and it alone; first a row for all ways together, named `all`. Known are the pairs of gold, or
    else the labels' matches: these are candidates already, so they compare the ways and say nothing of what all miss.
    Where every pair was a question of its own, all that are more likely than not are matches, not the chosen one alone.
-#}
{% macro er_blocking_report(candidates, estimate, records, sources, gold=none, labels=none, constraint='auto') %}
    {{ return(adapter.dispatch('er_blocking_report', 'distiller_udf')(
        candidates, estimate, records, sources, gold, labels, constraint
    )) }}
{% endmacro %}


{% macro duckdb__er_blocking_report(candidates, estimate, records, sources, gold, labels, constraint) %}
with

known as (
    {% if gold is none and labels is not none -%}
    select {{ distiller_udf._er_pair() }} from {{ labels }} where right_id is not null
    union
    select left_source, left_id, option.source, option.id
    from (
        select left_source, left_id, unnest(options) as option, unnest(probabilities) as probability
        from {{ labels }}
        where ask = 'match' and choice > 0
    )
    where probability > 0.5
    {%- else -%}
    {{ distiller_udf._er_links(gold, records, sources, 'er_gold', constraint) | indent }}
    {%- endif %}
),

proposed as (
    select candidates.blocked_by, known.left_source is not null as is_known
    from {{ candidates }} as candidates
    left join known using ({{ distiller_udf._er_pair() }})
),

by_way as (
    select
        way,
        count(*) as pairs,
        count(*) filter (len(blocked_by) = 1) as marginal_pairs,
        count(*) filter (is_known) as found,
        count(*) filter (is_known and len(blocked_by) = 1) as found_alone
    from (select blocked_by, is_known, unnest(blocked_by) as way from proposed)
    group by way

    union all

    select 'all', count(*), count(*), count(*) filter (is_known), count(*) filter (is_known)
    from proposed
),

estimate as (
    select way, kind, pairs, skipped_pairs, largest_blocks, all_pairs from {{ estimate }}
    union all
    select 'all', 'all', sum(pairs), sum(skipped_pairs), [], any_value(all_pairs) from {{ estimate }}
)

select
    estimate.way,
    estimate.kind,
    estimate.pairs as estimated_pairs,
    coalesce(by_way.pairs, 0) as pairs,
    coalesce(by_way.marginal_pairs, 0) as marginal_pairs,
    1 - coalesce(by_way.pairs, 0) / nullif(estimate.all_pairs, 0) as reduction_ratio,
    {{ distiller_udf._er_literal('gold' if gold is not none else 'labels' if labels is not none else 'nothing') }} as measured_by,
    (select count(*) from known) as known_matches,
    coalesce(by_way.found, 0) / nullif((select count(*) from known), 0) as recall,
    coalesce(by_way.found_alone, 0) / nullif((select count(*) from known), 0) as marginal_recall,
    estimate.skipped_pairs,
    estimate.largest_blocks
from estimate
left join by_way using (way)
order by estimate.way != 'all', pairs desc, estimate.way
{% endmacro %}
