{#-
    SQL that gives the ids in an incremental model the type that they have in `new`, where theirs was another one in the last
    run, and says so; rows whose ids have no such value are of records that are gone. A pre-hook that commits, for
    the model reads the rows on another connection; `ids` are the columns that hold an id, `options` one with a list of
    them.
-#}
{% macro _er_follow_id_type(relation, new, ids, options=none) %}
    {% set known = distiller_udf._er_former(relation, columns=ids) %}
    {% if known is none %}
        {% do return('') %}
    {% endif %}
    {% set types = [] %}
    {% for column in adapter.get_columns_in_relation(new) + adapter.get_columns_in_relation(known)
        if column.name == ids[0] %}
        {% do types.append(column.dtype) %}
    {% endfor %}
    {% if (types | length) != 2 or types[0] == types[1] %}
        {% do return('') %}
    {% endif %}
    {% do log(
        'distiller_udf: ids are ' ~ types[0] ~ ' now, which were ' ~ types[1] ~ ': the rows of ' ~ relation.identifier
        ~ ' that they still fit are kept', info=true
    ) %}
    {% set made = [] %}
    {% for name in ids %}
        {% do made.append('try_cast(' ~ name ~ '::varchar as ' ~ types[0] ~ ') as ' ~ name) %}
    {% endfor %}
    {% if options is not none %}
        {% do made.append(
            "[{'source': option.source, 'id': try_cast(option.id::varchar as " ~ types[0] ~ "), 'record': option.record} for option in "
            ~ options ~ '] as ' ~ options
        ) %}
    {% endif %}
    {% do return(
        'create or replace table ' ~ relation ~ ' as select * replace (' ~ (made | join(', ')) ~ ') from ' ~ relation
        ~ ' where try_cast(' ~ ids[0] ~ '::varchar as ' ~ types[0] ~ ') is not null; commit; begin transaction'
    ) %}
{% endmacro %}
