{#-
    SQL: pairs that a user gives, in the orientation and with the ids of er_records; `is_known` says whether both
    records are there. Ids are compared as text, so that a seed's integers meet a table's strings. The optional columns
    left_source and right_source say which source an id belongs to; without them it is the source declared first and the one
    declared last. No links are a relation without rows.
-#}
{% macro _er_links(links, records, sources, variable, constraint='auto') -%}
{%- if links is none -%}
select
    source as left_source, id as left_id, source as right_source, id as right_id,
    true as is_known, source as unknown_left_id, source as unknown_right_id
from {{ records }}
where false
{%- else -%}
{%- set names = distiller_udf._er_source_names(sources) -%}
{%- set types = {} -%}
{%- for column in (adapter.get_columns_in_relation(links) if execute else []) -%}
    {%- do types.update({column.name | lower: column.dtype}) -%}
{%- endfor -%}
{%- set there = types | list -%}
{%- if execute -%}
    {%- for name in ['left_id', 'right_id'] if there and name not in there -%}
        {%- do distiller_udf._er_raise(
            variable ~ ' names ' ~ links ~ ', which has no column ' ~ name ~ '; it needs left_id and right_id.'
        ) -%}
    {%- endfor -%}
    {%- for name in ['left_source', 'right_source'] if name not in there and (names | length) > 2 -%}
        {%- do distiller_udf._er_raise(
            variable ~ ' names ' ~ links ~ (
                ', which has no column ' ~ name if there else ', which is no table, view or seed with columns'
            ) ~ '; with more than two sources it needs left_source and right_source.'
        ) -%}
    {%- endfor -%}
{%- endif -%}
with given as (
    select
        {{ 'cast(left_source as varchar)' if 'left_source' in there else distiller_udf._er_literal(names | first) }} as left_source,
        {{ distiller_udf._er_id_text('left_id', types.get('left_id')) }} as left_id,
        {{ 'cast(right_source as varchar)' if 'right_source' in there else distiller_udf._er_literal(names | last) }} as right_source,
        {{ distiller_udf._er_id_text('right_id', types.get('right_id')) }} as right_id
    from {{ links }}
    {% if variable == 'er_gold' and 'is_match' in there -%}
    where cast(is_match as boolean)
    {%- endif %}
),

ranked as (
    select source, id, cast(id as varchar) as id_text, {{ distiller_udf._er_source_rank('source', sources, constraint) }} as source_rank
    from {{ records }}
),

found as (
    select
        given.*,
        l.source is not null and r.source is not null as is_known,
        coalesce((l.source_rank, l.id) > (r.source_rank, r.id), false) as is_reversed,
        l.id as l_id,
        r.id as r_id
    from given
    left join ranked as l on given.left_source = l.source and given.left_id = l.id_text
    left join ranked as r on given.right_source = r.source and given.right_id = r.id_text
    where (given.left_source, given.left_id) != (given.right_source, given.right_id)
)

select distinct
    case when is_reversed then right_source else left_source end as left_source,
    case when is_reversed then r_id when is_known then l_id end as left_id,
    case when is_reversed then left_source else right_source end as right_source,
    case when is_reversed then l_id when is_known then r_id end as right_id,
    is_known,
    case when not is_known then left_id end as unknown_left_id,
    case when not is_known then right_id end as unknown_right_id
from found
{%- endif -%}
{%- endmacro %}


{#-
    SQL: what is wrong with a relation that `_er_links` has made, one row if anything is: how many of its pairs name a
    record that is not there, and one of them, unless ids are private.
-#}
{% macro _er_unknown_links(links, sources, variable) -%}
select
    format(
        '{} of {} {} of {} name{} a record that does not exist{}; correct {}',
        unknown, pairs, case when pairs = 1 then 'pair' else 'pairs' end, '{{ variable }}',
        case when unknown = 1 then 's' else '' end,
        {% if distiller_udf._er_ids_are_private(sources) %}''{% else %}', such as ' || example{% endif %},
        '{{ variable }}'
    ) as said
from (
    select
        count(*) as pairs,
        count(*) filter (not is_known) as unknown,
        min(format(
            '{} – {}', coalesce(unknown_left_id, 'NULL'), coalesce(unknown_right_id, 'NULL')
        )) filter (not is_known) as example
    from {{ links }}
)
where unknown > 0
{%- endmacro %}


{#- Whether the project keeps its ids private: where a private or masked column is the id of a source. -#}
{% macro _er_ids_are_private(sources) %}
    {% set hidden = (var('er_private_columns', none) or []) + (var('er_masked_columns', none) or []) %}
    {% set ids = ['id'] %}
    {% for source in sources if source is mapping %}
        {% do ids.append(source['id'] | lower) %}
    {% endfor %}
    {% do return((hidden | map('lower') | select('in', ids) | list | length) > 0) %}
{% endmacro %}


{#- Log what is wrong with links that a variable names; a post-hook. With er_strict the model itself has raised it. -#}
{% macro _er_warn_links(variable, records) %}
    {% if execute and var(variable, none) %}
        {% set er = distiller_udf._er_settings() %}
        {% set links = distiller_udf._er_links(distiller_udf._er_ref(er[variable]), records, er['er_sources'], variable) %}
        {% for row in run_query(distiller_udf._er_unknown_links('(' ~ links ~ ')', er['er_sources'], variable)) %}
            {% do exceptions.warn('distiller_udf: ' ~ row[0] ~ '. They are passed over; er_strict: true makes this an error.') %}
        {% endfor %}
    {% endif %}
{% endmacro %}
