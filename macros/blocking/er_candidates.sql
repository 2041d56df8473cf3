{#-
    The candidate pairs of the records: every pair that a way of blocking proposes, with their similarity.

    Steps of a model that is materialized as er_steps.
-#}
{% macro er_candidates(
    blocking_records, sources, terms={}, neighbours={}, task='auto', constraint='auto', blocking='auto', rules=[], top_k=6,
    mode='auto', max_block=100, similarity='text', share_of_best=0.4, max_candidates=20
) %}
    {{ return(adapter.dispatch('er_candidates', 'distiller_udf')(
        blocking_records, sources, terms, neighbours, task, constraint, blocking, rules, top_k, mode, max_block,
        similarity, share_of_best, max_candidates
    )) }}
{% endmacro %}


{% macro duckdb__er_candidates(
    blocking_records, sources, terms, neighbours, task, constraint, blocking, rules, top_k, mode, max_block, similarity,
    share_of_best, max_candidates
) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{%- set constraint = distiller_udf._er_constraint(constraint, task) -%}
{%- set ways = distiller_udf._er_ways(
    blocking, rules, top_k, distiller_udf._er_blocking_mode(mode, constraint), max_block
) -%}
{%- set nearest = distiller_udf._er_leaves(ways) | selectattr('top_k', 'defined') | map(attribute='kind') | unique | list -%}
{%- set read = distiller_udf._er_terms_of(ways, similarity) -%}
{%- do distiller_udf._er_check_given('terms', terms, read) -%}
{%- do distiller_udf._er_check_given('neighbours', neighbours, nearest) -%}
{%- set only_equal = (ways | rejectattr('kind', 'equalto', 'equal') | list | length) == 0 -%}
-- er_view: numbered
select * from {{ blocking_records }}

{% for name, relation in terms.items() -%}
-- er_view: {{ name }}
select * from {{ relation }}

{% endfor -%}
{{ distiller_udf._er_strangers(neighbours, nearest, read) }}
{% for kind in nearest -%}
-- er_step: near_by_{{ kind }}
{{ distiller_udf._er_listed(neighbours[kind]) }}

{% endfor -%}
{{ distiller_udf._er_united_equal(ways, task, is_read_once=similarity != 'text') if only_equal else distiller_udf._er_united(ways, task) }}

{{ distiller_udf._er_compared_by_text(nearest) if similarity == 'text' else distiller_udf._er_compared_by_ways(ways) }}

{% if nearest and similarity == 'text' -%}
{{ distiller_udf._er_near_the_best(ways, share_of_best, constraint) }}

{% else -%}
-- er_view: kept
select * from compared

{% endif -%}
-- er_step: candidates
{% if only_equal -%}
select left_source, left_id, right_source, right_id, similarity, blocked_by
from kept
{% else -%}
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
{% endif -%}
{% if max_candidates is not none -%}
qualify row_number() over (partition by kept.left_n order by kept.similarity desc, kept.right_n) <= {{ max_candidates }}
{%- endif %}
{% endmacro %}
