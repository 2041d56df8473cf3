{#- The blocking rules, checked, as a list of {name, expression}. -#}
{% macro _er_rules(rules, variable='er_blocking_rules') %}
    {% set allowed = 'Allowed: a list of SQL expressions, each a text or {name, expression}.' %}
    {% if rules is none %}
        {% do return([]) %}
    {% endif %}
    {% if rules is string or rules is mapping or rules is not iterable %}
        {% do distiller_udf._er_raise(variable ~ ' is ' ~ (rules | tojson) ~ '. ' ~ allowed) %}
    {% endif %}
    {% set checked = [] %}
    {% set names = ['tokens', 'qgrams', 'identical'] %}
    {% for rule in rules %}
        {% if rule is mapping and rule.get('name') is string and rule.get('expression') is string
            and (rule | length) == 2 %}
            {% do checked.append({'name': rule['name'], 'expression': rule['expression']}) %}
        {% elif rule is string and (rule | trim) != '' %}
            {% do checked.append({'name': rule, 'expression': rule}) %}
        {% else %}
            {% do distiller_udf._er_raise(variable ~ ' has the rule ' ~ (rule | tojson) ~ '. ' ~ allowed) %}
        {% endif %}
        {% if checked[-1]['name'] in names %}
            {% do distiller_udf._er_raise(
                variable ~ ' has the name ' ~ checked[-1]['name'] ~ ' twice; every rule needs a name of its own, and '
                ~ 'tokens, qgrams and identical are taken.'
            ) %}
        {% endif %}
        {% do names.append(checked[-1]['name']) %}
    {% endfor %}
    {% do return(checked) %}
{% endmacro %}
