{#- The candidate pairs of the records: every pair that a way of blocking proposes, with their similarity. -#}
{% macro er_candidates(
    records, sources, task='auto', blocking='auto', rules=[], columns=none, top_k=6, mode='mutual', qgram_size=3,
    max_block=100, share_of_best=0.4, max_candidates=20
) %}
    {{ return(adapter.dispatch('er_candidates', 'distiller_udf')(
        records, sources, task, blocking, rules, columns, top_k, mode, qgram_size, max_block, share_of_best, max_candidates
    )) }}
{% endmacro %}


{% macro default__er_candidates(
    records, sources, task, blocking, rules, columns, top_k, mode, qgram_size, max_block, share_of_best, max_candidates
) %}
    {% do distiller_udf._er_not_supported('er_candidates') %}
{% endmacro %}


{% macro duckdb__er_candidates(
    records, sources, task, blocking, rules, columns, top_k, mode, qgram_size, max_block, share_of_best, max_candidates
) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- set rules = distiller_udf._er_rules(rules) -%}
{%- do distiller_udf._er_check_columns('er_blocking_columns', columns, records) -%}
{%- set blocking = distiller_udf._er_blocking(blocking, rules) -%}
{#- Who proposes pairs, by the name that blocked_by shows, and the step that holds them. -#}
{%- set proposers = [] -%}
{%- for way in blocking if way != 'rules' -%}
    {%- do proposers.append((way, way ~ '_proposals')) -%}
{%- endfor -%}
{%- for rule in rules if 'rules' in blocking -%}
    {%- do proposers.append((rule['name'], 'rule_' ~ loop.index ~ '_proposals')) -%}
{%- endfor -%}
{%- if 'tokens' in blocking or 'qgrams' in blocking -%}
    {%- do proposers.append(('identical', 'identical_proposals')) -%}
{%- endif -%}
with

records as (
    select * from {{ records }}
),

numbered as materialized (
    {{ distiller_udf._er_numbered('records', sources, columns) | indent }}
),

words as materialized (
    {{ distiller_udf._er_words('numbered') | indent }}
),

tokens as materialized (
    {{ distiller_udf._er_tokens('words') | indent }}
),

qgrams as materialized (
    {{ distiller_udf._er_qgrams('words', qgram_size) | indent }}
),

token_weights as materialized (
    {{ distiller_udf._er_weights('tokens') | indent }}
),

qgram_weights as materialized (
    {{ distiller_udf._er_weights('qgrams') | indent }}
),

{% for way in blocking if way != 'rules' -%}
{{ way }}_proposals as (
    {{ distiller_udf._er_top_k(way[:-1] ~ '_weights', 'numbered', task, top_k, mode) | indent }}
),

{% endfor -%}
{% if 'tokens' in blocking or 'qgrams' in blocking -%}
identical_proposals as (
    {{ distiller_udf._er_identical('numbered', task) | indent }}
),

{% endif -%}
{% for rule in rules if 'rules' in blocking -%}
rule_{{ loop.index }}_proposals as (
    {{ distiller_udf._er_same_value('records', 'numbered', rule['expression'], task, max_block) | indent }}
),

{% endfor -%}
proposals as (
    {% for proposer, step in proposers -%}
    {{ 'union all ' if not loop.first }}select left_n, right_n, {{ distiller_udf._er_literal(proposer) }} as proposer from {{ step }}
    {% endfor -%}
),

pairs as materialized (
    select
        left_n,
        right_n,
        list(distinct proposer order by proposer) as blocked_by
    from proposals
    group by left_n, right_n
),

by_tokens as (
    {{ distiller_udf._er_cosine('pairs', 'token_weights') | indent }}
),

by_qgrams as (
    {{ distiller_udf._er_cosine('pairs', 'qgram_weights') | indent }}
),

compared as (
    select
        pairs.*,
        {#- Rounded, so that the order in which threads add up does not show. #}
        least(round((by_tokens.score + by_qgrams.score) / 2, 6), 1) as similarity
    from pairs
    inner join by_tokens using (left_n, right_n)
    inner join by_qgrams using (left_n, right_n)
),

{#- How a candidate stands among those that a record has in a source: its place, and the similarity of the best. #}
standings as (
    select
        paired.n,
        paired.other_n,
        row_number() over rivals as place,
        first_value(paired.similarity) over rivals as best
    from (
        select left_n as n, right_n as other_n, similarity from compared
        union all
        select right_n, left_n, similarity from compared
    ) as paired
    inner join numbered as other on paired.other_n = other.n
    window rivals as (
        partition by paired.n, other.source_rank
        order by paired.similarity desc, paired.other_n
    )
),

kept as (
    select compared.*
    from compared
    inner join standings as l on compared.left_n = l.n and compared.right_n = l.other_n
    inner join standings as r on compared.right_n = r.n and compared.left_n = r.other_n
    where
        compared.similarity >= {{ share_of_best }} * greatest(l.best, r.best)
        {#- The second best of both says what is no match; without it there would be nothing to learn that from. #}
        or (l.place <= 2 and r.place <= 2)
        {#- What a rule proposes, or the same text, is a candidate whatever its words are like. #}
        or not list_has_all(['tokens', 'qgrams'], compared.blocked_by)
    {% if max_candidates is not none -%}
    qualify row_number() over (partition by compared.left_n order by compared.similarity desc, compared.right_n) <= {{ max_candidates }}
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
