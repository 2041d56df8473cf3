{#- Every error of the package is raised here, so that each one says who speaks. -#}
{% macro _er_raise(message) %}
    {% do exceptions.raise_compiler_error('distiller_udf: ' ~ message) %}
{% endmacro %}


{#- What is wrong with a word that is none of the allowed ones, as the end of a sentence. -#}
{% macro _er_allowed(word, allowed) %}
    {% set best = namespace(option=none, share=0.5) %}
    {% set pairs = distiller_udf._er_letter_pairs(word) %}
    {% for option in allowed %}
        {% set others = distiller_udf._er_letter_pairs(option) %}
        {% set share = 2 * (pairs | select('in', others) | list | length) / ((pairs | length) + (others | length)) %}
        {% if share > best.share %}
            {% set best.option, best.share = option, share %}
        {% endif %}
    {% endfor %}
    {% set hint = '; did you mean ' ~ best.option ~ '?' if best.option is not none else '.' %}
    {% do return(hint ~ ' Allowed: ' ~ (allowed | join(', ')) ~ '.') %}
{% endmacro %}


{#- Neighbouring letters of a word, its ends included: words that are spelt alike share most of them. -#}
{% macro _er_letter_pairs(word) %}
    {% set text = '^' ~ (word | string | lower) ~ '$' %}
    {% set pairs = [] %}
    {% for at in range((text | length) - 1) %}
        {% do pairs.append(text[at:at + 2]) %}
    {% endfor %}
    {% do return(pairs) %}
{% endmacro %}
