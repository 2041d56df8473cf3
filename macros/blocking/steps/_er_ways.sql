{#-
    The ways of blocking that the settings stand for, each a mapping: its kind, its name (what blocked_by shows) and

    tokens, qgrams, embeddings   top_k, mode
    minhash                      terms, bands, rows, max_block
    equal                        expression, max_block, key
    sorted                       expression, window, key
    all                          ways: the pairs that every one of them proposes
    identical                    the same text; comes with tokens, qgrams and embeddings that stand by themselves

    A key is the column of er_blocking_records that holds the expression's value. Within an intersection the same text is no
    way: it would propose what the other parts keep apart.
-#}
{% macro _er_ways(blocking, rules=none, top_k=6, mode='mutual', max_block=100) %}
    {% set known = distiller_udf._er_way_words() %}
    {% set given = [blocking] if blocking is string or blocking is mapping else blocking | list %}
    {% set kinds = [] %}
    {% for way in given %}
        {% do kinds.extend(way | list if way is mapping else [way]) %}
    {% endfor %}
    {% do distiller_udf._er_check_rules_are_used(kinds, rules) %}
    {% set defaults = {'top_k': top_k, 'mode': mode, 'max_block': max_block} %}
    {% set ways = [] %}
    {% for way in given %}
        {% if way == 'auto' %}
            {% for kind in ['tokens', 'qgrams'] if kind not in kinds %}
                {% do ways.append(distiller_udf._er_way(kind, defaults)) %}
            {% endfor %}
        {% elif way != 'rules' %}
            {% do ways.append(distiller_udf._er_way(way, defaults, known['words'])) %}
        {% endif %}
    {% endfor %}
    {% for rule in rules or [] %}
        {% do ways.append(distiller_udf._er_way({'equal': rule}, defaults)) %}
    {% endfor %}
    {% if ways | selectattr('kind', 'in', known['neighbours']) | list %}
        {% do ways.append({'kind': known['identical'], 'name': known['identical']}) %}
    {% endif %}
    {% do distiller_udf._er_check_way_names(ways, (distiller_udf._er_way_rules() | reject('equalto', 'all') | list) + [known['identical']]) %}
    {% for way in distiller_udf._er_leaves(ways) | selectattr('kind', 'in', ['equal', 'sorted']) %}
        {% do way.update({'key': 'key_' ~ loop.index}) %}
    {% endfor %}
    {% do return(ways) %}
{% endmacro %}


{#- Raise where rules are asked for and there are none, or are there and nobody asks for them. -#}
{% macro _er_check_rules_are_used(kinds, rules) %}
    {% if 'rules' in kinds and not rules %}
        {% do distiller_udf._er_raise('er_blocking has rules, but er_blocking_rules is empty; name at least one.') %}
    {% endif %}
    {% if rules and 'rules' not in kinds and 'auto' not in kinds %}
        {% do distiller_udf._er_raise(
            'er_blocking_rules are set, but er_blocking is ' ~ (kinds | join(', ')) ~ '; add rules to it, or drop them.'
        ) %}
    {% endif %}
{% endmacro %}


{#-
    Raise where two ways have one name, for blocked_by could not tell them apart; or where one is named like another kind, for
    whoever reads of embeddings should find embeddings. all is the name of all ways together, in er_blocking_report.
-#}
{% macro _er_check_way_names(ways, taken) %}
    {% set names = [] %}
    {% for way in ways %}
        {% if way['name'] in names %}
            {% do distiller_udf._er_raise(
                'er_blocking has the name ' ~ way['name'] ~ ' twice; every way needs a name of its own.'
            ) %}
        {% endif %}
        {% if way['name'] == 'all' or (way['name'] in taken and way['name'] != way['kind']) %}
            {% do distiller_udf._er_raise(
                'er_blocking has the name ' ~ way['name'] ~ ' for a way of the kind ' ~ way['kind'] ~ '; give it another name, for '
                ~ (taken | join(', ')) ~ ' and all are taken.'
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


{#- The terms that the pairs of ways are made of or compared by, besides neighbours: tokens, qgrams, both or none. -#}
{% macro _er_terms_of(ways, similarity) %}
    {% set hashed = distiller_udf._er_leaves(ways) | selectattr('kind', 'equalto', 'minhash') | map(attribute='terms') | list %}
    {% set terms = ['tokens', 'qgrams'] %}
    {% do return(terms if similarity == 'text' else terms | select('in', hashed) | list) %}
{% endmacro %}
