{#- SQL: one row of what a way will propose: pairs, skipped_pairs (in blocks that are too large), largest_blocks. -#}
{% macro _er_estimated(way, task) -%}
{%- set kind, key = way['kind'], way.get('key') -%}
{%- set owner = "source || ':' || cast(id as varchar)" -%}
{%- if kind == 'equal' -%}
    {%- set members = 'select n, source_rank, ' ~ key ~ ' as value from numbered where ' ~ key ~ ' is not null' -%}
    {{ distiller_udf._er_blocks_estimated(
        distiller_udf._er_equal_blocks(members, task), distiller_udf._er_value_text(way), way['max_block']
    ) }}
{%- elif kind == 'minhash' -%}
    {%- set bands = distiller_udf._er_minhash_bands(way['terms'], 'numbered', way['bands'], way['rows']) -%}
    {%- set members = 'select n, source_rank, band as value from (' ~ bands ~ ')' -%}
    {{ distiller_udf._er_blocks_estimated(
        distiller_udf._er_equal_blocks(members, task), "'terms like those of ' || " ~ owner, way['max_block']
    ) }}
{%- elif kind == 'identical' -%}
    {{ distiller_udf._er_blocks_estimated(distiller_udf._er_identical_blocks(task), "'the text of ' || " ~ owner) }}
{%- elif kind == 'all' -%}
    {{ distiller_udf._er_all_estimated(way, task) }}
{%- else -%}
    select
        {% if kind == 'sorted' -%}
        least(sum(pairs), {{ way['window'] - 1 }} * (select count({{ key }}) from numbered)) as pairs,
        {%- else -%}
        {%- set within = 'l_records / 2' if way['mode'] == 'mutual' else 'l_records' -%}
        {%- set between = {
            'mutual': 'least(l_records, r_records)', 'union': 'l_records + r_records', 'left': 'l_records', 'right': 'r_records'
        }[way['mode']] -%}
        sum(least(pairs, {{ way['top_k'] }} * case when is_within then {{ within }} else {{ between }} end)) as pairs,
        {%- endif %}
        0 as skipped_pairs,
        cast([] as struct(value varchar, records bigint, pairs bigint, is_skipped boolean)[]) as largest_blocks
    from meetings
{%- endif -%}
{%- endmacro %}


{#-
    SQL: the same of an intersection. Its smallest part bounds its pairs. A pair that it loses to a block that is too large
    is one that a part leaves out and every other one proposes or leaves out as well: that bounds the skipped ones.
-#}
{% macro _er_all_estimated(way, task) -%}
with parts as materialized (
    {% for part in way['ways'] -%}
    {{ 'union all ' if not loop.first }}select {{ loop.index }} as place, * from ({{ distiller_udf._er_estimated(part, task) }})
    {% endfor %}
),

told as (
    select place, unnest(largest_blocks) as block, generate_subscripts(largest_blocks, 1) as position
    from parts
),

largest as (
    select *
    from told
    where block.is_skipped or place = (select place from parts order by pairs, place limit 1)
    qualify row_number() over (partition by block.is_skipped order by block.pairs desc, place, position) <= 5
)

select
    min(pairs) as pairs,
    least(sum(skipped_pairs), min(pairs + skipped_pairs)) as skipped_pairs,
    (select list(block order by block.pairs desc, place, position) from largest) as largest_blocks
from parts
{%- endmacro %}


{#-
    SQL: the same of blocks, given a SELECT of their first_n, records and pairs, and how the first record names a block.
    A block of more records than max_block is left out.
-#}
{% macro _er_blocks_estimated(blocks, name, max_block=none) -%}
with blocks as materialized (
    select *, {{ 'records > ' ~ max_block if max_block is not none else 'false' }} as is_skipped
    from ({{ blocks | indent }})
    where pairs > 0
),

largest as (
    (select * from blocks where not is_skipped order by pairs desc, first_n limit 5)
    union all
    (select * from blocks where is_skipped order by pairs desc, first_n limit 5)
),

named as (
    select largest.*, names.name
    from largest
    inner join numbered on largest.first_n = numbered.n
    inner join (select source, id, {{ name }} as name from records) as names using (source, id)
)

select
    coalesce(sum(pairs) filter (not is_skipped), 0) as pairs,
    coalesce(sum(pairs) filter (is_skipped), 0) as skipped_pairs,
    (
        select list(
            {
                'value': name,
                'records': cast(records as bigint),
                'pairs': cast(pairs as bigint),
                'is_skipped': is_skipped
            }
            order by pairs desc, first_n
        )
        from named
    ) as largest_blocks
from blocks
{%- endmacro %}


{#- SQL: blocks of records with the same value, given a SELECT of n, source_rank and value, one row a record and value. -#}
{% macro _er_equal_blocks(members, task) -%}
select
    min(first_n) as first_n,
    sum(records) as records,
    {{ distiller_udf._er_count_pairs(task) }} as pairs
from (
    select value, source_rank, count(*) as records, min(n) as first_n
    from ({{ members | indent(8) }})
    group by value, source_rank
)
group by value
{%- endmacro %}


{#- SQL: blocks of records with the very same text, of all sources together; their pairs are those of _er_identical. -#}
{% macro _er_identical_blocks(task) -%}
with counted as (
    select text, source_rank, count(*) as records, min(n) as first_n
    from numbered
    where text is not null
    group by text, source_rank
),

paired as (
    select
        l.text,
        sum(case when l.source_rank = r.source_rank then l.records - 1 else greatest(l.records, r.records) end) as pairs
    from counted as l
    inner join counted as r on l.text = r.text and l.source_rank <= r.source_rank and {{ distiller_udf._er_may_meet(task) }}
    where l.source_rank != r.source_rank or l.records > 1
    group by l.text
)

select min(counted.first_n) as first_n, sum(counted.records) as records, any_value(paired.pairs) as pairs
from counted
inner join paired using (text)
group by text
{%- endmacro %}
