{#- One way, checked: a word, {kind: options}, {equal: expression}, or {all: [ways]} with or without a name. -#}
{% macro _er_way(given, defaults, words=[]) %}
    {% set rules = distiller_udf._er_way_rules() %}
    {% set example = distiller_udf._er_way_words()['example'] %}
    {% if given is string %}
        {% set kind, options = given, {} %}
    {% elif given is mapping and given.get('all') is not none %}
        {% set kind, options = 'all', given %}
    {% elif given is mapping and (given | length) == 1 %}
        {% set kind = given | first %}
        {% set options = given[kind] if given[kind] is not none else {} %}
    {% else %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ tojson(given) ~ ', which is no way of blocking.' ~ example) %}
    {% endif %}
    {% if kind not in rules %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ tojson(kind) ~ distiller_udf._er_allowed(kind, words + (rules | list))) %}
    {% endif %}
    {% if options is string and 'expression' in rules[kind] %}
        {% set options = {'expression': options} %}
    {% endif %}
    {% do distiller_udf._er_check(
        kind ~ ' in er_blocking', options, {'type': 'mapping', 'keys': rules[kind], 'allowed': 'a mapping of its options.' ~ example}
    ) %}
    {% if kind == 'all' %}
        {% set ways = [] %}
        {% for part in options['all'] %}
            {% do ways.append(distiller_udf._er_way(part, defaults)) %}
        {% endfor %}
        {% do return({'kind': 'all', 'name': options.get('name') or ways | map(attribute='name') | join(' and '), 'ways': ways}) %}
    {% endif %}
    {% set way = {'kind': kind, 'name': options.get('name') or options.get('expression', kind)} %}
    {% for option, rule in rules[kind].items() if option != 'name' %}
        {% do way.update({option: options.get(option, rule.get('default', defaults.get(option)))}) %}
    {% endfor %}
    {% set most = distiller_udf._er_way_words()['max_hashes'] %}
    {% if kind == 'minhash' and way['bands'] * way['rows'] > most %}
        {% do distiller_udf._er_raise(
            'er_blocking has minhash with bands: ' ~ way['bands'] ~ ' and rows: ' ~ way['rows'] ~ '; together these are ' ~ most
            ~ ' at most.'
        ) %}
    {% endif %}
    {% do return(way) %}
{% endmacro %}
