-- One row a candidate pair, with both records.
{{ config(materialized='view') }}

{{ distiller_udf.er_pairs(ref('er_candidates'), records=ref('er_records')) }}
