{#- The records as blocking sees them: numbered in the order in which a pair names them, with what they are blocked by. -#}
{% macro er_blocking_records(records, sources, blocking='auto', rules=[], columns=none) %}
    {{ return(adapter.dispatch('er_blocking_records', 'distiller_udf')(records, sources, blocking, rules, columns)) }}
{% endmacro %}


{% macro default__er_blocking_records(records, sources, blocking, rules, columns) %}
    {% do distiller_udf._er_not_supported('er_blocking_records') %}
{% endmacro %}


{% macro duckdb__er_blocking_records(records, sources, blocking, rules, columns) %}
{%- do distiller_udf._er_check_columns('er_blocking_columns', columns, records) -%}
{%- set ways = distiller_udf._er_leaves(distiller_udf._er_ways(blocking, rules)) -%}
with

records as (
    select * from {{ records }}
),

{% if ways | selectattr('kind', 'equalto', 'identical') | list -%}
texts as (
    {{ distiller_udf._er_texts('records', columns) | indent }}
),

{% endif -%}
keys as (
    select
        source,
        id,
        {% for way in ways if way['key'] -%}
        {{ distiller_udf._er_key(way) }} as {{ way['key'] }},
        {% endfor -%}
    from records
)

select
    cast(row_number() over (order by {{ distiller_udf._er_source_rank('keys.source', sources) }}, keys.id) as uinteger) as n,
    cast({{ distiller_udf._er_source_rank('keys.source', sources) }} as utinyint) as source_rank,
    keys.*,
    {%- if ways | selectattr('kind', 'equalto', 'identical') | list %}
    case when list_any_value(texts.texts) is not null then hash(lower(texts.texts::varchar)) end as text
    {%- endif %}
from keys
{% if ways | selectattr('kind', 'equalto', 'identical') | list -%}
inner join texts using (source, id)
{%- endif %}
{% endmacro %}


{#- SQL: what a way looks records up by: the value to sort by, or a hash of the value to be equal. A blank one is none. -#}
{% macro _er_key(way) -%}
{%- set value = 'cast((' ~ way['expression'] ~ ') as varchar)' -%}
case when {{ distiller_udf._er_is_filled(value) }} then {{ value if way['kind'] == 'sorted' else 'hash(' ~ value ~ ')' }} end
{%- endmacro %}
