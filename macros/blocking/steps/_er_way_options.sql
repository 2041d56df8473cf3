{#- The kinds of ways that a user can name, besides all, each with its options and their defaults. -#}
{% macro _er_way_defaults(top_k, mode, max_block) %}
    {% do return({
        'tokens': {'top_k': top_k, 'mode': mode},
        'qgrams': {'top_k': top_k, 'mode': mode},
        'embeddings': {'top_k': top_k, 'mode': mode},
        'minhash': {'terms': 'qgrams', 'bands': 20, 'rows': 5, 'max_block': max_block},
        'equal': {'expression': none, 'max_block': max_block},
        'sorted': {'expression': none, 'window': 5},
    }) %}
{% endmacro %}


{#- One way, checked: a word, {kind: options}, {equal: expression}, or {all: [ways]} with or without a name. -#}
{% macro _er_way(given, defaults, words=[]) %}
    {% set kinds = (defaults | list) + ['all'] %}
    {% set example = ' Such as tokens, {qgrams: {top_k: 10}}, {equal: lower(email)}, {equal: {expression: lower(email), name: email}} or {all: [qgrams, {equal: town}]}.' %}
    {% if given is string %}
        {% set kind, options = given, {} %}
    {% elif given is mapping and given.get('all') is not none %}
        {% set kind, options = 'all', given %}
    {% elif given is mapping and (given | length) == 1 %}
        {% set kind = given | first %}
        {% set options = given[kind] if given[kind] is not none else {} %}
    {% else %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ (given | tojson) ~ ', which is no way of blocking.' ~ example) %}
    {% endif %}
    {% if kind not in kinds %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ (kind | tojson) ~ distiller_udf._er_allowed(kind, words + kinds)) %}
    {% endif %}
    {% if kind == 'all' %}
        {% do return(distiller_udf._er_intersection(options, defaults)) %}
    {% endif %}
    {% if options is string and defaults[kind].get('expression', '') is none %}
        {% set options = {'expression': options} %}
    {% endif %}
    {% if options is not mapping %}
        {% do distiller_udf._er_raise('er_blocking has the options ' ~ (options | tojson) ~ ' for ' ~ kind ~ '.' ~ example) %}
    {% endif %}
    {% set way = dict(defaults[kind], kind=kind, name=kind) %}
    {% for name, value in options.items() %}
        {% do distiller_udf._er_check_way_option(kind, name, value, defaults[kind]) %}
        {% do way.update({name: value}) %}
    {% endfor %}
    {% if 'expression' in way and way['expression'] is none %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ kind ~ ' without an expression.' ~ example) %}
    {% endif %}
    {% if kind == 'minhash' and way['bands'] * way['rows'] > 1000 %}
        {% do distiller_udf._er_raise(
            'er_blocking has minhash with ' ~ way['bands'] ~ ' bands of ' ~ way['rows'] ~ ' rows; together these are 1000 at most.'
        ) %}
    {% endif %}
    {% if 'expression' in way and 'name' not in options %}
        {% do way.update({'name': way['expression']}) %}
    {% endif %}
    {% do return(way) %}
{% endmacro %}


{#- An intersection of ways, checked. -#}
{% macro _er_intersection(given, defaults) %}
    {% for name in given if name not in ['all', 'name'] %}
        {% do distiller_udf._er_raise('er_blocking has all with the option ' ~ name ~ distiller_udf._er_allowed(name, ['name'])) %}
    {% endfor %}
    {% if given['all'] is string or given['all'] is mapping or given['all'] is not iterable or (given['all'] | list | length) < 2 %}
        {% do distiller_udf._er_raise('er_blocking has all: ' ~ (given['all'] | tojson) ~ '; it needs a list of two ways or more.') %}
    {% endif %}
    {% set ways = [] %}
    {% for way in given['all'] %}
        {% do ways.append(distiller_udf._er_way(way, defaults)) %}
    {% endfor %}
    {% do return({'kind': 'all', 'name': given.get('name') or ways | map(attribute='name') | join(' and '), 'ways': ways}) %}
{% endmacro %}


{#- Raise unless a kind of way has the option and the option may have the value. -#}
{% macro _er_check_way_option(kind, name, value, defaults) %}
    {% set allowed = ['name'] + (defaults | list) %}
    {% if name not in allowed %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ kind ~ ' with the option ' ~ name ~ distiller_udf._er_allowed(name, allowed)) %}
    {% endif %}
    {% set rule = {
        'name': {'type': 'text'},
        'expression': {'type': 'text'},
        'top_k': {'type': 'integer', 'from': 1, 'to': 1000},
        'mode': {'type': 'choice', 'allowed': ['mutual', 'union', 'left', 'right']},
        'terms': {'type': 'choice', 'allowed': ['tokens', 'qgrams']},
        'bands': {'type': 'integer', 'from': 1, 'to': 1000},
        'rows': {'type': 'integer', 'from': 1, 'to': 100},
        'max_block': {'type': 'integer', 'from': 2, 'to': 100000},
        'window': {'type': 'integer', 'from': 2, 'to': 1000},
    }[name] %}
    {% if value is none %}
        {% do distiller_udf._er_raise('er_blocking has ' ~ kind ~ ' with the option ' ~ name ~ ', which has no value.') %}
    {% endif %}
    {% do distiller_udf._er_check_value('er_blocking: the ' ~ name ~ ' of ' ~ kind, value, rule) %}
{% endmacro %}
