{#- SQL: one row of what a way will propose: pairs, skipped_pairs (in blocks that are too large), largest_blocks. -#}
{% macro _er_estimated(way, task) -%}
{%- set kind = way['kind'] -%}
{%- if kind == 'equal' -%}
    {{ distiller_udf._er_blocks_estimated(
        'select n, source_rank, ' ~ way['key'] ~ ' as value from numbered where ' ~ way['key'] ~ ' is not null',
        'cast((' ~ way['expression'] ~ ') as varchar)', task, way['max_block']
    ) }}
{%- elif kind == 'minhash' -%}
    {{ distiller_udf._er_blocks_estimated(
        'select n, source_rank, band as value from ('
        ~ distiller_udf._er_minhash_bands(way['terms'], 'numbered', way['bands'], way['rows']) ~ ')',
        "'terms like those of ' || source || ':' || cast(id as varchar)", task, way['max_block']
    ) }}
{%- elif kind == 'identical' -%}
    {{ distiller_udf._er_identical_estimated(task) }}
{%- elif kind == 'all' -%}
    select
        min(parts.pairs) as pairs,
        arg_min(parts.skipped_pairs, parts.pairs) as skipped_pairs,
        arg_min(parts.largest_blocks, parts.pairs) as largest_blocks
    from (
        {% for part in way['ways'] -%}
        {{ 'union all ' if not loop.first }}({{ distiller_udf._er_estimated(part, task) | indent(8) }})
        {% endfor %}
    ) as parts
{%- elif kind == 'sorted' -%}
    select least(sum(pairs), {{ way['window'] - 1 }} * (select count({{ way['key'] }}) from numbered)) as pairs, 0 as skipped_pairs, null as largest_blocks
    from meetings
{%- else -%}
    {%- set within = {'mutual': 'l_records / 2', 'union': 'l_records', 'left': 'l_records', 'right': 'l_records'}[way['mode']] -%}
    {%- set between = {
        'mutual': 'least(l_records, r_records)', 'union': 'l_records + r_records', 'left': 'l_records', 'right': 'r_records'
    }[way['mode']] -%}
    select
        sum(least(pairs, {{ way['top_k'] }} * case when is_within then {{ within }} else {{ between }} end)) as pairs,
        0 as skipped_pairs,
        null as largest_blocks
    from meetings
{%- endif -%}
{%- endmacro %}


{#- SQL: the same of blocks, given a SELECT of n, source_rank and value, one row a record, and how to name its value. -#}
{% macro _er_blocks_estimated(members, name, task, max_block) -%}
{%- set all_pairs = 'sum(records) * (sum(records) - 1) // 2' -%}
{%- set within = 'sum(records * (records - 1)) // 2' -%}
with counted as (
    select value, source_rank, count(*) as records, min(n) as first_n
    from ({{ members | indent }})
    group by value, source_rank
),

blocks as (
    select
        min(first_n) as first_n,
        sum(records) as records,
        {{ {'link': all_pairs ~ ' - ' ~ within, 'dedupe': within, 'link_and_dedupe': all_pairs}[task] }} as pairs
    from counted
    group by value
),

largest as (
    select * from blocks where pairs > 0 order by pairs desc, first_n limit 5
),

named as (
    select largest.*, names.name
    from largest
    inner join numbered on largest.first_n = numbered.n
    inner join (select source, id, {{ name }} as name from records) as names using (source, id)
)

select
    coalesce(sum(pairs) filter (records <= {{ max_block }}), 0) as pairs,
    coalesce(sum(pairs) filter (records > {{ max_block }}), 0) as skipped_pairs,
    (
        select list(
            {
                'value': name,
                'records': cast(records as bigint),
                'pairs': cast(pairs as bigint),
                'is_skipped': records > {{ max_block }}
            }
            order by pairs desc, first_n
        )
        from named
    ) as largest_blocks
from blocks
{%- endmacro %}


{#- SQL: the same of records with the very same text. -#}
{% macro _er_identical_estimated(task) -%}
with counted as (
    select text, source_rank, count(*) as records, any_value(source) as source, min(id) as id
    from numbered
    where text is not null
    group by text, source_rank
)

select
    sum(case when l.source_rank = r.source_rank then l.records - 1 else greatest(l.records, r.records) end) as pairs,
    0 as skipped_pairs,
    max_by(
        {
            'value': concat('the text of ', l.source, ':', l.id),
            'records': cast(l.records as bigint),
            'pairs': cast(case when l.source_rank = r.source_rank then l.records - 1 else greatest(l.records, r.records) end as bigint),
            'is_skipped': false
        },
        (l.records, l.id), 5
    ) as largest_blocks
from counted as l
inner join counted as r on l.text = r.text and l.source_rank <= r.source_rank and {{ distiller_udf._er_may_meet(task) }}
where l.source_rank != r.source_rank or l.records > 1
{%- endmacro %}
