-- One row a left record that the teacher is asked about.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_selection(
    ref('er_candidates'),
    strategy=er['er_selection_strategy'],
    share=er['er_selection_share'],
    minimum=er['er_selection_minimum'],
    positive_ratio=er['er_selection_positive_ratio'],
    seed=er['er_seed']
) }}
