-- One row a pair of teachers: how far their answers agree.
{% do distiller_udf._er_settings() %}
{{ config(materialized='table') }}

{{ distiller_udf.er_teacher_agreement(ref('er_labels')) }}
