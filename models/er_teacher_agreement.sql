-- One row a pair of teachers: how far the answers of those that are set agree.
{% do distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_teacher_agreement(ref('er_labels'), votes=ref('er_votes')) }}
