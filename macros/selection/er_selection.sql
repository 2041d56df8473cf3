{#- The left records that the teacher is asked about: a share of those that have candidates, chosen by a strategy. -#}
{% macro er_selection(candidates, strategy='random', share=0.1, minimum=0, positive_ratio=0.5, seed=42) %}
    {{ return(adapter.dispatch('er_selection', 'distiller_udf')(candidates, strategy, share, minimum, positive_ratio, seed)) }}
{% endmacro %}


{% macro default__er_selection(candidates, strategy, share, minimum, positive_ratio, seed) %}
    {% do distiller_udf._er_not_supported('er_selection') %}
{% endmacro %}


{% macro duckdb__er_selection(candidates, strategy, share, minimum, positive_ratio, seed) %}
with

candidates as (
    select * from {{ candidates }}
),

left_records as (
    select
        left_source,
        left_id,
        max(similarity, 2) as best_two,
        {#- Breaks ties, and is the whole of the strategy random: the same on every run and every DuckDB. #}
        md5(concat_ws(':', {{ seed }}, left_source, cast(left_id as varchar))) as draw
    from candidates
    group by left_source, left_id
),

scored as (
    select
        left_source,
        left_id,
        draw,
        {% if strategy == 'max' -%}
        best_two[1] as score
        {%- elif strategy == 'top2' -%}
        best_two[1] - coalesce(best_two[2], 0) as score
        {%- else -%}
        cast(null as double) as score
        {%- endif %}
    from left_records
),

{#- A tenth of a small table is too little to learn from, so the minimum counts there. #}
budget as (
    select
        least(count(*), greatest(cast(ceil(count(*) * {{ share }}) as bigint), {{ minimum }})) as wanted,
        cast(ceil(wanted * {{ positive_ratio if strategy != 'random' else 1 }}) as bigint) as wanted_from_top
    from scored
),

positioned as (
    select
        left_source,
        left_id,
        score,
        row_number() over (order by score desc, draw) as from_top,
        row_number() over (order by score, draw desc) as from_bottom
    from scored
),

selected as (
    select
        positioned.*,
        from_top <= wanted_from_top as is_likely_match
    from positioned
    cross join budget
    where from_top <= wanted_from_top or from_bottom <= wanted - wanted_from_top
)

select
    left_source,
    left_id,
    '{{ strategy }}' as strategy,
    row_number() over (order by case when is_likely_match then from_top else from_bottom end, from_top) as rank,
    score
from selected
{% endmacro %}
