-- One row a selected left record: the question to the teacher.
{% set er = distiller_udf._er_settings() %}
{{ config(materialized='view') }}

{{ distiller_udf.er_tuples(ref('er_selection'), pairs=ref('er_pairs'), seed=er['er_seed']) }}
