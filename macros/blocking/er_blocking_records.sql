{#- The records as blocking sees them: numbered in the order in which a pair names them, with what they are blocked by. -#}
{% macro er_blocking_records(records, sources, blocking='auto', rules=[], columns=none, constraint='auto') %}
    {{ return(adapter.dispatch('er_blocking_records', 'distiller_udf')(
        records, sources, blocking, rules, columns, constraint
    )) }}
{% endmacro %}


{% macro duckdb__er_blocking_records(records, sources, blocking, rules, columns, constraint) %}
{%- do distiller_udf._er_check_columns('er_blocking_columns', columns, records) -%}
{%- set ways = distiller_udf._er_leaves(distiller_udf._er_ways(blocking, rules)) -%}
{%- set has_text = 'identical' in ways | map(attribute='kind') -%}
with

records as (
    select * from {{ records }}
),

{% if has_text -%}
texts as (
    {{ distiller_udf._er_texts('records', columns) }}
),

{% endif -%}
{#- Not materialized, for to count its rows no key need be computed. #}
keys as not materialized (
    select
        source,
        id,
        {% for way in ways if way['key'] -%}
        {{ distiller_udf._er_key(way) }} as {{ way['key'] }},
        {% endfor -%}
    from records
)

select
    case
        when (select count(*) from keys) = (select count(*) from records)
            then cast(row_number() over (order by {{ distiller_udf._er_source_rank('keys.source', sources, constraint) }}, keys.id) as uinteger)
        else error({{ distiller_udf._er_literal(
            'er_blocking: an expression gives a record no value or several, as unnest does, where each record has one; of '
            ~ (ways | selectattr('expression', 'defined') | map(attribute='expression') | join(', '))
        ) }})
    end as n,
    cast({{ distiller_udf._er_source_rank('keys.source', sources, constraint) }} as utinyint) as source_rank,
    keys.*,
    {%- if has_text %}
    case when list_any_value(texts.texts) is not null then hash(lower(texts.texts::varchar)) end as text
    {%- endif %}
from keys
{% if has_text -%}
inner join texts using (source, id)
{%- endif %}
{% endmacro %}


{#- SQL: what a way looks records up by: the value to sort by, or a hash of the value to be equal. A blank one is none. -#}
{% macro _er_key(way) -%}
{%- set value = distiller_udf._er_value_text(way) -%}
case
    when {{ distiller_udf._er_is_filled(value) }}
        then {{ distiller_udf._er_value(way) if way['kind'] == 'sorted' else 'hash(' ~ value ~ ')' }}
end
{%- endmacro %}


{#- SQL: the value of a way's expression. The line break ends a comment that the expression may end with. -#}
{% macro _er_value(way) -%}
({{ way['expression'] }}
)
{%- endmacro %}


{#- SQL: the same as a text. -#}
{% macro _er_value_text(way) -%}
{{ distiller_udf._er_text(distiller_udf._er_value(way)) }}
{%- endmacro %}
