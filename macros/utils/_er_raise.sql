{#- Every error of the package is raised here, so that each one says who speaks. -#}
{% macro _er_raise(message) %}
    {% do exceptions.raise_compiler_error('distiller_udf: ' ~ message) %}
{% endmacro %}


{#- What is wrong with a word that is none of the allowed ones, as the end of a sentence. -#}
{% macro _er_allowed(word, allowed) %}
    {% set closest = distiller_udf._er_closest(word | string, allowed) %}
    {% set hint = '; did you mean ' ~ closest ~ '?' if closest is not none else '.' %}
    {% do return(hint ~ ' Allowed: ' ~ (allowed | join(', ')) ~ '.') %}
{% endmacro %}


{#- The end of the line for every dispatched macro on an adapter that has no version of its own. -#}
{% macro _er_not_supported(macro_name) %}
    {% do distiller_udf._er_raise(
        macro_name ~ ' has no version for the adapter ' ~ target.type ~ '; it runs on duckdb. A macro named '
        ~ target.type ~ '__' ~ macro_name ~ ' in your project would add one.'
    ) %}
{% endmacro %}
