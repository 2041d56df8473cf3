{#-
    All variables of the package as one dict, checked. Unknown names and wrong values are errors before anything runs;
    only er_sources may be unset until then, so that `dbt parse` and `dbt ls` work in a project that has just installed
    the package.
-#}
{% macro _er_settings() %}
    {% set rules = distiller_udf._er_variables() %}
    {% do distiller_udf._er_check_names(rules) %}
    {% set settings = {} %}
    {% for name, rule in rules.items() %}
        {% do settings.update({name: var(name, none)}) %}
        {% do distiller_udf._er_check(name, settings[name], rule) %}
    {% endfor %}
    {% do distiller_udf._er_ways(settings['er_blocking'], settings['er_blocking_rules']) %}
    {% if execute and not settings['er_sources'] %}
        {% do distiller_udf._er_raise('no sources are declared. Set er_sources to ' ~ rules['er_sources']['allowed'] ~ '.') %}
    {% endif %}
    {#- A command of distiller that has dbt parse the project may be given what is missing as an option. -#}
    {% if execute or not var('parsed_by_distiller', false) %}
        {% do distiller_udf._er_check_needs(settings) %}
    {% endif %}
    {% do return(settings) %}
{% endmacro %}


{#- Raise for every er_* variable that a project or the command line sets and that does not exist. -#}
{% macro _er_check_names(rules) %}
    {#- dbt lists no variables; the resolver behind ref() carries the project's configuration, where it has one. -#}
    {% set config = builtins['ref'] | attr('config') %}
    {% set given = [] %}
    {% do given.extend((invocation_args_dict.get('vars') or {}) | list) %}
    {% if config is defined and config.vars is defined %}
        {% set project = config.vars.vars %}
        {% do given.extend(project | list) %}
        {% do given.extend((project.get('distiller_udf') or {}) | list) %}
    {% endif %}
    {% for name in given if (name | string).startswith('er_') and name not in rules %}
        {% do distiller_udf._er_raise('there is no variable ' ~ name ~ distiller_udf._er_allowed(name, rules | list)) %}
    {% endfor %}
{% endmacro %}


{#- Raise where a variable is missing that another one needs: here, and not after all the blocking. -#}
{% macro _er_check_needs(settings) %}
    {% if settings['er_student_path'] is not none %}
        {% do return(none) %}
    {% endif %}
    {% for entry in settings['er_teachers'] or [{}] %}
        {% set known = dict(settings) %}
        {% for key, value in entry.items() if value is not none %}
            {% do known.update({'er_' ~ (key if key == 'teacher' else 'teacher_' ~ key): value}) %}
        {% endfor %}
        {#- A model means a server. -#}
        {% if entry.get('model') and not entry.get('teacher') and known['er_teacher'] == 'embedded' %}
            {% do known.update({'er_teacher': 'openai'}) %}
        {% endif %}
        {% for setting, values, needs, such in distiller_udf._er_needs() if known[setting] in values and known[needs] is none %}
            {% do distiller_udf._er_raise(setting ~ ' is ' ~ known[setting] ~ ', which needs ' ~ needs ~ ', ' ~ such ~ '.') %}
        {% endfor %}
    {% endfor %}
    {% set trains = settings['er_student'] == 'llm' and settings['er_training'] == 'build' %}
    {% if trains and settings['er_llm_model'] is none and not (settings['er_llm_training'] or {}).get('start') %}
        {% do distiller_udf._er_raise(
            'er_student is llm, which needs er_llm_model, a folder, or the id of a model on the hub; or set er_training: schedule '
            ~ 'where it is trained by command.'
        ) %}
    {% endif %}
{% endmacro %}


{#- Raise unless a value is what its rule (see distiller_udf/settings/rules.py) allows. -#}
{% macro _er_check(name, value, rule) %}
    {% set said = distiller_udf._er_refusal(name, value, rule) %}
    {% if said is not none %}
        {% do distiller_udf._er_raise(said) %}
    {% endif %}
{% endmacro %}


{#- The sentence that refuses a value, none where its rule allows it: word for word that of distiller_udf/settings/check.py. -#}
{% macro _er_refusal(name, value, rule) %}
    {% if value is none %}
        {% do return(none if rule.get('nullable') else name ~ ' has no value; leave it out to get its default.') %}
    {% elif rule['type'] == 'any' %}
        {% set found = [] %}
        {% for option in rule['of'] %}
            {% set said = distiller_udf._er_refusal(name, value, option) %}
            {% do return(none) if said is none %}
            {% do found.append(said) if distiller_udf._er_fits(value, option) %}
        {% endfor %}
        {% do return(found[0] if found else distiller_udf._er_refused(name, value, rule)) %}
    {% elif not distiller_udf._er_fits(value, rule) %}
        {% do return(distiller_udf._er_refused(name, value, rule)) %}
    {% elif rule['type'] == 'list' and rule.get('of') %}
        {% for entry in value %}
            {% set said = distiller_udf._er_refusal('entry ' ~ loop.index ~ ' of ' ~ name, entry, rule['of']) %}
            {% do return(said) if said is not none %}
        {% endfor %}
        {% set names = value | map(attribute=rule['distinct']) | list if rule.get('distinct') else [] %}
        {% for each in names if names.count(each) > 1 %}
            {% do return('two entries of ' ~ name ~ ' have the ' ~ rule['distinct'] ~ ' ' ~ each ~ '.') %}
        {% endfor %}
    {% elif rule['type'] == 'mapping' and rule.get('entries') %}
        {% for key, entry in value.items() %}
            {% do return(name ~ ' has the key ' ~ tojson(key) ~ '. Allowed: a text.') if key is not string %}
            {% set said = distiller_udf._er_refusal(key ~ ' of ' ~ name, entry, rule['entries']) %}
            {% do return(said) if said is not none %}
        {% endfor %}
    {% elif rule['type'] == 'mapping' and rule.get('keys') %}
        {% do return(distiller_udf._er_refusal_of_keys(name, value, rule)) %}
    {% endif %}
    {% do return(none) %}
{% endmacro %}


{% macro _er_refusal_of_keys(name, value, rule) %}
    {% for key in value if key not in rule['keys'] %}
        {% do return(name ~ ' has ' ~ tojson(key) ~ distiller_udf._er_allowed(key, rule['keys'] | list)) %}
    {% endfor %}
    {% for key, own in rule['keys'].items() %}
        {% if own.get('required') and value.get(key) is none %}
            {% do return(name ~ ' has no ' ~ key ~ '; ' ~ rule['allowed'] ~ '.') %}
        {% endif %}
        {% set said = distiller_udf._er_refusal(key ~ ' of ' ~ name, value[key], own) if key in value else none %}
        {% do return(said) if said is not none %}
    {% endfor %}
    {% set there = value.items() | rejectattr(1, 'none') | map('first') | list %}
    {% set given = rule.get('one_of', []) | select('in', there) | list %}
    {% if rule.get('one_of') and (given | length) != 1 %}
        {% do return(
            name ~ ' needs exactly one of ' ~ (rule['one_of'] | join(', ')) ~ '; it has ' ~ (given | join(' and ') or 'none') ~ '.'
        ) %}
    {% endif %}
    {% do return(none) %}
{% endmacro %}


{#- Whether a value is of a rule's type at all; what is within a list or a mapping is looked at afterwards. -#}
{% macro _er_fits(value, rule) %}
    {% set type = rule['type'] %}
    {% set is_list = value is sequence and value is not string and value is not mapping %}
    {% if type == 'choice' %}
        {% do return(value is string and value in rule['values']) %}
    {% elif type in ('integer', 'number') %}
        {% set right = value is number and value is not boolean and (type == 'number' or value is integer) %}
        {#- infinity less itself is NaN, and NaN is not 0 -#}
        {% do return(
            right and value >= rule['from'] and value - value == 0 and value <= rule.get('to', value)
            and not (rule.get('between') and value in (rule['from'], rule.get('to')))
        ) %}
    {% elif type == 'boolean' %}
        {% do return(value is boolean) %}
    {% elif type == 'text' %}
        {% set pattern = rule.get('pattern', '(?s).*') %}
        {% do return(value is string and (value | trim) != '' and modules.re.fullmatch(pattern, value) is not none) %}
    {% elif (type == 'list' and is_list) or (type == 'mapping' and value is mapping) %}
        {% set count = value | length %}
        {% do return(rule.get('least', 0) <= count and count <= rule.get('most', count)) %}
    {% endif %}
    {% do return(false) %}
{% endmacro %}


{% macro _er_refused(name, value, rule) %}
    {% if rule.get('private') %}
        {% do return(name ~ ' is something else than is allowed. Allowed: ' ~ rule['allowed'] ~ '.') %}
    {% elif rule['type'] == 'choice' %}
        {% do return(name ~ ' is ' ~ tojson(value) ~ distiller_udf._er_allowed(value, rule['values'])) %}
    {% endif %}
    {% do return(name ~ ' is ' ~ tojson(value) ~ '. Allowed: ' ~ rule['allowed'] ~ '.') %}
{% endmacro %}
