{#- The declared sources as one relation: source, id, fingerprint, then the chosen columns, united by name. -#}
{% macro er_records(sources) %}
    {{ return(adapter.dispatch('er_records', 'distiller_udf')(sources)) }}
{% endmacro %}


{% macro duckdb__er_records(sources) %}
{%- if not execute -%}
    {#- While dbt parses, all that counts is which models are referred to. -#}
    {%- for source in sources or [] if source is mapping and (source.get('model') or source.get('source')) %}
        {%- do distiller_udf._er_source_relation(source) -%}
    {%- endfor -%}
    select null as source, null as id, null as fingerprint
{%- else -%}
{%- do distiller_udf._er_check('er_sources', sources, distiller_udf._er_variables()['er_sources']) -%}
{%- set columns = distiller_udf._er_record_columns(sources) -%}
with

{% for source in sources -%}
source_{{ loop.index }} as (
    select
        {{ distiller_udf._er_literal(source['name']) }} as source,
        {{ columns[loop.index0] | join(',\n        ') }}
    from {{ distiller_udf._er_source_relation(source) }}
),

{% endfor -%}
united as (
    {% for source in sources -%}
    {{ 'union all by name ' if not loop.first }}select * from source_{{ loop.index }}
    {% endfor %}
),

problems as (
    select
        case
            when without_id > 0 then
                error(format(
                    'er_records: {} row(s) of source {} have no id; every row needs one, filter them out or choose another id column',
                    without_id, source
                ))
            else
                error(format(
                    'er_records: {} row(s) of source {} repeat an id; ids must be unique within a source, for example after select distinct on (id)',
                    repeated, source
                ))
        end as problem
    from (
        select source, count(*) - count(id) as without_id, count(id) - count(distinct id) as repeated
        from united
        group by source
    )
    where without_id > 0 or repeated > 0
)

select
    source,
    id,
    {#- The names count too: values that change places make another record. #}
    md5(struct_pack(*columns(* exclude (source, id)))::varchar) as fingerprint,
    * exclude (source, id)
from united
where not exists (select 1 from problems where problem is not null)
{%- endif %}
{% endmacro %}
