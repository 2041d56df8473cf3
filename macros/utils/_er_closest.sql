{#- The option that is spelt most like the word, by shared letter pairs; none where nothing comes close. -#}
{% macro _er_closest(word, options) %}
    {% set pairs = [] %}
    {% for i in range((word | length) - 1) %}
        {% do pairs.append(word[i:i + 2] | lower) %}
    {% endfor %}
    {% set best = namespace(option=none, score=0.5) %}
    {% for option in options %}
        {% set left_over = pairs | list %}
        {% set shared = namespace(count=0) %}
        {% for i in range((option | length) - 1) %}
            {% if (option[i:i + 2] | lower) in left_over %}
                {% do left_over.remove(option[i:i + 2] | lower) %}
                {% set shared.count = shared.count + 1 %}
            {% endif %}
        {% endfor %}
        {% set score = 2 * shared.count / [(pairs | length) + (option | length) - 1, 1] | max %}
        {% if score > best.score %}
            {% set best.option = option %}
            {% set best.score = score %}
        {% endif %}
    {% endfor %}
    {% do return(best.option) %}
{% endmacro %}
