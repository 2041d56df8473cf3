{#-
    The ways of blocking that the settings stand for, each a mapping: its kind, its name (what blocked_by shows) and

    tokens, qgrams, embeddings   top_k, mode
    minhash                      terms, bands, rows, max_block
    equal                        expression, max_block, key
    sorted                       expression, window, key
    all                          ways: the pairs that every one of them proposes
    identical                    the same text; comes with tokens, qgrams and embeddings

    A key is the column of er_blocking_records that holds the expression's value.
-#}
{% macro _er_ways(blocking, rules=none, top_k=6, mode='mutual', max_block=100, rules_are_known=true) %}
    {% set rules = distiller_udf._er_rules(rules) %}
    {% set given = [blocking] if blocking is string or blocking is mapping else blocking | list %}
    {% if rules_are_known %}
        {% do distiller_udf._er_check_rules_are_used(given, rules) %}
    {% endif %}
    {% set kinds = [] %}
    {% for way in given %}
        {% do kinds.extend(way | list if way is mapping else [way]) %}
    {% endfor %}
    {% set defaults = {
        'tokens': {'top_k': top_k, 'mode': mode},
        'qgrams': {'top_k': top_k, 'mode': mode},
        'embeddings': {'top_k': top_k, 'mode': mode},
        'minhash': {'terms': 'qgrams', 'bands': 20, 'rows': 5, 'max_block': max_block},
        'equal': {'expression': none, 'max_block': max_block},
        'sorted': {'expression': none, 'window': 5},
    } %}
    {% set ways = [] %}
    {% for way in given %}
        {% if way == 'auto' %}
            {% for kind in ['tokens', 'qgrams'] if kind not in kinds %}
                {% do ways.append(distiller_udf._er_way(kind, defaults)) %}
            {% endfor %}
        {% elif way != 'rules' %}
            {% do ways.append(distiller_udf._er_way(way, defaults, ['auto', 'rules'])) %}
        {% endif %}
    {% endfor %}
    {% for rule in rules %}
        {% do ways.append(dict(defaults['equal'], kind='equal', **rule)) %}
    {% endfor %}
    {% if distiller_udf._er_leaves(ways) | selectattr('kind', 'in', ['tokens', 'qgrams', 'embeddings']) | list %}
        {% do ways.append({'kind': 'identical', 'name': 'identical'}) %}
    {% endif %}
    {% do distiller_udf._er_check_way_names(ways) %}
    {% for way in distiller_udf._er_leaves(ways) | selectattr('kind', 'in', ['equal', 'sorted']) %}
        {% do way.update({'key': 'key_' ~ loop.index}) %}
    {% endfor %}
    {% do return(ways) %}
{% endmacro %}


{#- One way, checked: a word, {kind: options}, {equal: expression}, or {all: [ways]} with or without a name. -#}
{% macro _er_way(given, defaults, words=[]) %}
    {% set kinds = (defaults | list) + ['all'] %}
    {% set example = ' Such as tokens, {qgrams: {top_k: 10}}, {equal: lower(email)} or {all: [qgrams, {equal: town}]}.' %}
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


{#- Raise where rules are asked for and there are none, or are there and nobody asks for them. -#}
{% macro _er_check_rules_are_used(given, rules) %}
    {% if 'rules' in given and not rules %}
        {% do distiller_udf._er_raise('er_blocking has rules, but er_blocking_rules is empty; name at least one.') %}
    {% endif %}
    {% if rules and 'rules' not in given and 'auto' not in given %}
        {% set kinds = [] %}
        {% for way in given %}
            {% do kinds.append(way if way is string else way | list | join(' ')) %}
        {% endfor %}
        {% do distiller_udf._er_raise(
            'er_blocking_rules are set, but er_blocking is ' ~ (kinds | join(', ')) ~ '; add rules to it, or drop them.'
        ) %}
    {% endif %}
{% endmacro %}


{#- Raise where two ways have one name: blocked_by could not tell them apart. -#}
{% macro _er_check_way_names(ways) %}
    {% set names = ['all'] %}
    {% for way in ways %}
        {% if way['name'] in names %}
            {% do distiller_udf._er_raise(
                'er_blocking has the name ' ~ way['name'] ~ ' twice; every way needs a name of its own, and identical and all are taken.'
            ) %}
        {% endif %}
        {% do names.append(way['name']) %}
    {% endfor %}
{% endmacro %}


{#- The ways, with those that an intersection is made of in its place. -#}
{% macro _er_leaves(ways) %}
    {% set leaves = [] %}
    {% for way in ways %}
        {% if way['kind'] == 'all' %}
            {% do leaves.extend(distiller_udf._er_leaves(way['ways'])) %}
        {% else %}
            {% do leaves.append(way) %}
        {% endif %}
    {% endfor %}
    {% do return(leaves) %}
{% endmacro %}


{#- The ways of the settings, without intersections: what these are made of instead. -#}
{% macro _er_leaves_of(settings) %}
    {% do return(distiller_udf._er_leaves(distiller_udf._er_ways(
        settings['er_blocking'], settings['er_blocking_rules'], settings['er_blocking_top_k'], settings['er_blocking_mode'],
        settings['er_blocking_max_block']
    ))) %}
{% endmacro %}


{#- How many neighbours of a kind the settings ask for at most, 0 where they ask for none. -#}
{% macro _er_wanted_neighbours(settings, kind) %}
    {% set ways = distiller_udf._er_leaves_of(settings) %}
    {% do return(([0] + (ways | selectattr('kind', 'equalto', kind) | map(attribute='top_k') | list)) | max) %}
{% endmacro %}


{#- Whether the settings need the records' tokens or q-grams: to find pairs, or to compare them. -#}
{% macro _er_terms_are_needed(settings, terms) %}
    {% set hashed = distiller_udf._er_leaves_of(settings) | selectattr('kind', 'equalto', 'minhash') | list %}
    {% do return(
        settings['er_blocking_similarity'] == 'text'
        or distiller_udf._er_wanted_neighbours(settings, terms) > 0
        or (hashed | selectattr('terms', 'equalto', terms) | list | length) > 0
    ) %}
{% endmacro %}


{#- Raise unless the variable er_blocking is a way of blocking, or a list of them. -#}
{% macro _er_check_blocking(value) %}
    {% if value is not string and value is not mapping and (value is not sequence or (value | length) == 0) %}
        {% do distiller_udf._er_raise(
            'er_blocking is ' ~ (value | tojson) ~ '. Allowed: auto, or a list of ways of blocking, such as [tokens, {qgrams: {top_k: 10}}].'
        ) %}
    {% endif %}
    {% do distiller_udf._er_ways(value, rules_are_known=false) %}
{% endmacro %}
