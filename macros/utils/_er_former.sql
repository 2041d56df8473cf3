{#-
    The table that the last run of a model left. none where there is none, where it lacks one of the columns, or where
    all is to be made anew, unless it is to be kept even then.
-#}
{% macro _er_former(relation, columns=[], keep=false) %}
    {% if not execute or (flags.FULL_REFRESH and not keep) %}
        {% do return(none) %}
    {% endif %}
    {% set there = adapter.get_relation(relation.database, relation.schema, relation.identifier) %}
    {% if there is none or not there.is_table %}
        {% do return(none) %}
    {% endif %}
    {% set names = adapter.get_columns_in_relation(there) | map(attribute='name') | list %}
    {% do return(relation if columns | reject('in', names) | list | length == 0 else none) %}
{% endmacro %}
