{#- The option that is spelt most like the word, by edit distance; none where a third of it would have to change. -#}
{% macro _er_closest(word, options) %}
    {% set best = namespace(option=none, distance=[(word | length) // 3, 1] | max + 1) %}
    {% for option in options %}
        {% set distance = distiller_udf._er_edit_distance(word | lower, option | string | lower) %}
        {% if distance < best.distance %}
            {% set best.option = option %}
            {% set best.distance = distance %}
        {% endif %}
    {% endfor %}
    {% do return(best.option) %}
{% endmacro %}


{#- How many letters have to be put in, taken out or replaced to make one word of the other (Levenshtein). -#}
{% macro _er_edit_distance(one, other) %}
    {% set rows = [range((other | length) + 1) | list] %}
    {% for letter in one %}
        {% set above = rows[-1] %}
        {% set row = [loop.index] %}
        {% for wanted in other %}
            {% do row.append([
                above[loop.index] + 1, row[-1] + 1, above[loop.index0] + (0 if letter == wanted else 1)
            ] | min) %}
        {% endfor %}
        {% do rows.append(row) %}
    {% endfor %}
    {% do return(rows[-1][-1]) %}
{% endmacro %}
