{#- The candidate pairs of the records: every pair that a way of blocking proposes, with their similarity. -#}
{% macro er_candidates(
    records, sources, task='auto', blocking='auto', rules=[], columns=none, top_k=10, mode='mutual', qgram_size=3,
    max_block=100, max_candidates=20
) %}
    {{ return(adapter.dispatch('er_candidates', 'distiller_udf')(
        records, sources, task, blocking, rules, columns, top_k, mode, qgram_size, max_block, max_candidates
    )) }}
{% endmacro %}


{% macro default__er_candidates(
    records, sources, task, blocking, rules, columns, top_k, mode, qgram_size, max_block, max_candidates
) %}
    {% do distiller_udf._er_not_supported('er_candidates') %}
{% endmacro %}


{% macro duckdb__er_candidates(
    records, sources, task, blocking, rules, columns, top_k, mode, qgram_size, max_block, max_candidates
) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- set rules = distiller_udf._er_rules(rules) -%}
{%- set blocking = distiller_udf._er_blocking(blocking, rules) -%}
with

records as (
    select * from {{ records }}
),

numbered as materialized (
    {{ distiller_udf._er_numbered('records', sources, columns) | indent }}
),

tokens as materialized (
    {{ distiller_udf._er_tokens('numbered') | indent }}
),

qgrams as materialized (
    {{ distiller_udf._er_qgrams('numbered', qgram_size) | indent }}
),

{% for way in blocking if way != 'rules' -%}
{{ way }}_proposals as (
    {{ distiller_udf._er_top_k(way, task, top_k, mode) | indent }}
),

{% endfor -%}
{% if 'rules' in blocking -%}
{% for rule in rules -%}
rule_{{ loop.index }}_proposals as (
    {{ distiller_udf._er_same_value('records', 'numbered', rule['expression'], task, max_block) | indent }}
),

{% endfor -%}
{% endif -%}
proposals as (
    {% for way in blocking if way != 'rules' -%}
    {{ 'union all ' if not loop.first }}select left_n, right_n, {{ distiller_udf._er_literal(way) }} as proposer from {{ way }}_proposals
    {% endfor -%}
    {% if 'rules' in blocking -%}
    {% for rule in rules -%}
    {{ 'union all ' if not loop.first or (blocking | length) > 1 }}select left_n, right_n, {{ distiller_udf._er_literal(rule['name']) }} as proposer from rule_{{ loop.index }}_proposals
    {% endfor -%}
    {% endif %}
),

pairs as materialized (
    select
        left_n,
        right_n,
        list(distinct proposer order by proposer) as blocked_by
    from proposals
    group by left_n, right_n
),

compared as (
    {{ distiller_udf._er_cosine('pairs', 'qgrams') | indent }}
),

kept as (
    select pairs.*, compared.similarity
    from pairs
    inner join compared using (left_n, right_n)
    {% if max_candidates is not none -%}
    qualify row_number() over (
        partition by left_n order by compared.similarity desc, right_n
    ) <= {{ max_candidates }}
    {%- endif %}
)

select
    l.source as left_source,
    l.id as left_id,
    r.source as right_source,
    r.id as right_id,
    kept.similarity,
    kept.blocked_by
from kept
inner join numbered as l on kept.left_n = l.n
inner join numbered as r on kept.right_n = r.n
{% endmacro %}
