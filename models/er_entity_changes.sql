-- One row a record and change of its entity: what appeared, merged, split and vanished, and when. A log: nothing is ever
-- taken out of it, --full-refresh or not.
{% do distiller_udf._er_settings() %}
{{ config(materialized='incremental', incremental_strategy='append', full_refresh=false) }}

{{ distiller_udf.er_entity_changes(ref('er_entities'), former=this if is_incremental() else none) }}
