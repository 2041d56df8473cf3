{#-
    All variables of the package as one dict, checked. Unknown names and wrong values are errors before anything runs;
    only er_sources may be unset until then, so that `dbt parse` and `dbt ls` work in a project that has just installed
    the package.
-#}
{% macro _er_settings() %}
    {% set variables = distiller_udf._er_variables() %}
    {% do distiller_udf._er_check_names(variables) %}
    {% set settings = {} %}
    {% for name, rule in variables.items() %}
        {% do settings.update({name: var(name, none)}) %}
        {% do distiller_udf._er_check_value(name, settings[name], rule) %}
    {% endfor %}
    {% if execute %}
        {% do distiller_udf._er_sources(settings['er_sources']) %}
        {% do distiller_udf._er_check_models(settings) %}
    {% endif %}
    {% do return(settings) %}
{% endmacro %}


{#- Raise for every er_* variable that a project or the command line sets and that does not exist. -#}
{% macro _er_check_names(variables) %}
    {#- dbt lists no variables; the resolver behind ref() carries the project's configuration, where it has one. -#}
    {% set config = builtins['ref'] | attr('config') %}
    {% set given = [] %}
    {% do given.extend((invocation_args_dict.get('vars') or {}) | list) %}
    {% if config is defined and config.vars is defined %}
        {% set project = config.vars.vars %}
        {% do given.extend(project | list) %}
        {% do given.extend((project.get('distiller_udf') or {}) | list) %}
    {% endif %}
    {% for name in given if (name | string).startswith('er_') and name not in variables %}
        {% do distiller_udf._er_raise(
            'there is no variable ' ~ name ~ distiller_udf._er_allowed(name, variables | list)
        ) %}
    {% endfor %}
{% endmacro %}


{#- Raise unless a variable's value is one of those that its rule allows. -#}
{% macro _er_check_value(name, value, rule) %}
    {% if value is none %}
        {% if not rule.get('nullable') %}
            {% do distiller_udf._er_raise(name ~ ' has no value; leave it out to get its default.') %}
        {% endif %}
        {% do return(none) %}
    {% endif %}
    {% set type = rule['type'] %}
    {% if type == 'choice' %}
        {% if value is not string or value not in rule['allowed'] %}
            {% do distiller_udf._er_raise(
                name ~ ' is ' ~ (value | tojson) ~ distiller_udf._er_allowed(value, rule['allowed'])
            ) %}
        {% endif %}
    {% elif type in ('integer', 'number') %}
        {% set right = value is number and value is not boolean and (type == 'number' or value is integer) %}
        {#- not (value >= from): true of NaN as well -#}
        {% set outside = right and not (value >= rule['from'] and value <= rule['to']) %}
        {% set at_an_end = right and rule.get('between') and value in (rule['from'], rule['to']) %}
        {% if not right or outside or at_an_end %}
            {% do distiller_udf._er_raise(
                name ~ ' is ' ~ (value | tojson) ~ '. Allowed: ' ~ ('a whole number' if type == 'integer' else 'a number')
                ~ (' between ' ~ rule['from'] ~ ' and ' ~ rule['to'] ~ ', neither of them.' if rule.get('between')
                else ' from ' ~ rule['from'] ~ ' to ' ~ rule['to'] ~ '.')
            ) %}
        {% endif %}
    {% elif type == 'boolean' %}
        {% if value is not boolean %}
            {% do distiller_udf._er_raise(name ~ ' is ' ~ (value | tojson) ~ '. Allowed: true, false.') %}
        {% endif %}
    {% elif type == 'text' %}
        {% if value is not string or (value | trim) == '' %}
            {% do distiller_udf._er_raise(name ~ ' is ' ~ (value | tojson) ~ '. Allowed: a text.') %}
        {% endif %}
    {% elif type == 'environment' %}
        {#- What stands there may be the key itself: it is not repeated. -#}
        {% if value is not string or not modules.re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', value) %}
            {% do distiller_udf._er_raise(name ~ ' is the name of an environment variable, not what it holds.') %}
        {% endif %}
    {% elif type == 'names' %}
        {% set ok = namespace(value=value is sequence and value is not string and value is not mapping) %}
        {% if ok.value %}
            {% for item in value if item is not string %}
                {% set ok.value = false %}
            {% endfor %}
        {% endif %}
        {% if not ok.value or ((value | length) == 0 and not rule.get('empty')) %}
            {% do distiller_udf._er_raise(name ~ ' is ' ~ (value | tojson) ~ '. Allowed: a list of column names.') %}
        {% endif %}
    {% elif type == 'mapping' %}
        {% if value is not mapping %}
            {% do distiller_udf._er_raise(name ~ ' is ' ~ (value | tojson) ~ '. Allowed: a mapping.') %}
        {% endif %}
    {% elif type == 'teachers' %}
        {% do distiller_udf._er_teachers(value, name) %}
    {% elif type == 'blocking' %}
        {% do distiller_udf._er_check_blocking(value) %}
    {% elif type == 'rules' %}
        {% do distiller_udf._er_rules(value, name) %}
    {% elif type == 'sources' %}
        {% do distiller_udf._er_sources(value, name) %}
    {% endif %}
{% endmacro %}
