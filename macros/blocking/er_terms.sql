{#-
    The terms of the records, tokens or q-grams, with their weights.

    Steps of a model that is materialized as er_steps.
-#}
{% macro er_terms(terms, records, blocking_records, columns=none, qgram_size=3, is_needed=true) %}
    {{ return(adapter.dispatch('er_terms', 'distiller_udf')(terms, records, blocking_records, columns, qgram_size, is_needed)) }}
{% endmacro %}


{% macro duckdb__er_terms(terms, records, blocking_records, columns, qgram_size, is_needed) %}
{#- What a long value goes on to say after 2,000 characters finds fewer pairs, not more, and costs time. -#}
-- er_view: texts
{{ distiller_udf._er_texts(records if is_needed else '(from ' ~ records ~ ' limit 0)', columns, most=2000) }}

-- er_view: numbered
select numbered.n, texts.texts
from texts
inner join {{ blocking_records }} as numbered using (source, id)

-- er_step: folded
{{ distiller_udf._er_folded_texts('numbered') }}

{{ distiller_udf._er_tokens('folded') if terms == 'tokens' else distiller_udf._er_qgrams('folded', qgram_size) }}

{{ distiller_udf._er_weights('terms') }}
{% endmacro %}
