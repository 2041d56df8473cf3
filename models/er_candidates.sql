-- One row a candidate pair: two records that blocking finds worth comparing.
{% set er = distiller_udf._er_settings() %}
-- depends_on: {{ ref('er_blocking_estimate') }}
{{ config(
    materialized='er_steps',
    pre_hook="{{ distiller_udf._er_refuse_pairs(ref('er_blocking_estimate'), var('er_max_pairs')) }}"
) }}

{% set neighbours = {'tokens': ref('er_neighbours_by_tokens'), 'qgrams': ref('er_neighbours_by_qgrams')} %}
{% if distiller_udf._er_wanted_neighbours(er, 'embeddings') %}
    {% do neighbours.update({'embeddings': ref('er_neighbours_by_embeddings')}) %}
{% endif %}
{{ distiller_udf.er_candidates(
    ref('er_blocking_records'),
    sources=er['er_sources'],
    terms={'tokens': ref('er_tokens'), 'qgrams': ref('er_qgrams')},
    neighbours=neighbours,
    task=er['er_task'],
    constraint=er['er_constraint'],
    blocking=er['er_blocking'],
    rules=er['er_blocking_rules'],
    top_k=er['er_blocking_top_k'],
    mode=er['er_blocking_mode'],
    max_block=er['er_blocking_max_block'],
    similarity=er['er_blocking_similarity'],
    share_of_best=er['er_blocking_share_of_best'],
    max_candidates=er['er_max_candidates']
) }}
