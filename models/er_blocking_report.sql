-- One row a way of blocking: what it was worth.
-- depends_on, so that who looks at the report has seen the warnings: {{ ref('er_blocking_warnings') }}
{% set er = distiller_udf._er_settings() %}
{#- Where matches are known, no teacher is asked for this; without them it is behind the labels, if there are teachers. #}
{% if not er['er_gold'] %}
-- depends_on: {{ ref('er_matches') }}
{% endif %}
{{ config(materialized='table') }}

{{ distiller_udf.er_blocking_report(
    ref('er_candidates'),
    estimate=ref('er_blocking_estimate'),
    records=ref('er_records'),
    sources=er['er_sources'],
    gold=distiller_udf._er_ref(er['er_gold']),
    labels=none if er['er_gold'] else distiller_udf._er_built('er_votes'),
    constraint=er['er_constraint']
) }}
