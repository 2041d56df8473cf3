{#- What a dispatched macro is on an adapter that has no version of its own: an error, whatever it is given. -#}
{% macro _er_not_supported(macro_name, given) %}
    {% do distiller_udf._er_raise(
        macro_name ~ ' has no version for the adapter ' ~ target.type ~ '; it runs on duckdb. A macro named '
        ~ target.type ~ '__' ~ macro_name ~ ' in your project would add one.'
    ) %}
{% endmacro %}


{% macro default__er_blocking_estimate() %}{% do distiller_udf._er_not_supported('er_blocking_estimate', varargs) %}{% endmacro %}
{% macro default__er_blocking_records() %}{% do distiller_udf._er_not_supported('er_blocking_records', varargs) %}{% endmacro %}
{% macro default__er_blocking_report() %}{% do distiller_udf._er_not_supported('er_blocking_report', varargs) %}{% endmacro %}
{% macro default__er_blocking_warnings() %}{% do distiller_udf._er_not_supported('er_blocking_warnings', varargs) %}{% endmacro %}
{% macro default__er_candidates() %}{% do distiller_udf._er_not_supported('er_candidates', varargs) %}{% endmacro %}
{% macro default__er_neighbours() %}{% do distiller_udf._er_not_supported('er_neighbours', varargs) %}{% endmacro %}
{% macro default__er_pairs() %}{% do distiller_udf._er_not_supported('er_pairs', varargs) %}{% endmacro %}
{% macro default__er_terms() %}{% do distiller_udf._er_not_supported('er_terms', varargs) %}{% endmacro %}
{% macro default__er_entities() %}{% do distiller_udf._er_not_supported('er_entities', varargs) %}{% endmacro %}
{% macro default__er_entity_changes() %}{% do distiller_udf._er_not_supported('er_entity_changes', varargs) %}{% endmacro %}
{% macro default__er_entity_report() %}{% do distiller_udf._er_not_supported('er_entity_report', varargs) %}{% endmacro %}
{% macro default__er_decisions() %}{% do distiller_udf._er_not_supported('er_decisions', varargs) %}{% endmacro %}
{% macro default__er_delete_vanished_pairs() %}{% do distiller_udf._er_not_supported('er_delete_vanished_pairs', varargs) %}{% endmacro %}
{% macro default__er_matches() %}{% do distiller_udf._er_not_supported('er_matches', varargs) %}{% endmacro %}
{% macro default__er_metrics() %}{% do distiller_udf._er_not_supported('er_metrics', varargs) %}{% endmacro %}
{% macro default__er_records() %}{% do distiller_udf._er_not_supported('er_records', varargs) %}{% endmacro %}
{% macro default__er_delete_vanished_labels() %}{% do distiller_udf._er_not_supported('er_delete_vanished_labels', varargs) %}{% endmacro %}
{% macro default__er_teacher_agreement() %}{% do distiller_udf._er_not_supported('er_teacher_agreement', varargs) %}{% endmacro %}
{% macro default__er_tuples() %}{% do distiller_udf._er_not_supported('er_tuples', varargs) %}{% endmacro %}
