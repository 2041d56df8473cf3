{#-
    What in the records keeps blocking from being of use: columns that are empty or say the same everywhere, words that
    nearly all records have, many records with one text, values that too many records share, expressions that have no value
    on one of two sides. Of fewer than 100 records nothing else is said than that.

    A column with one value is of use where few records have it: a VAT number that two of them share is the best evidence
    there is. It is of none where a tenth of all records have the value, so that it says little, and more than max_block
    do, so that nothing is looked up by it; or where nearly all do, however large max_block is.
-#}
{% macro er_blocking_warnings(
    records, blocking_records, tokens, estimate, columns=none, max_block=100, sources=[], task='auto', blocking='auto', rules=[]
) %}
    {{ return(adapter.dispatch('er_blocking_warnings', 'distiller_udf')(
        records, blocking_records, tokens, estimate, columns, max_block, sources, task, blocking, rules
    )) }}
{% endmacro %}


{% macro duckdb__er_blocking_warnings(
    records, blocking_records, tokens, estimate, columns, max_block, sources, task, blocking, rules
) %}
{%- set keyed = distiller_udf._er_leaves(distiller_udf._er_ways(blocking, rules)) | selectattr('key', 'defined') | list -%}
{%- set sides = 2 if distiller_udf._er_task(task, sources) == 'link' else 1 -%}
{%- set nearly_all = 0.9 -%}
{%- set named_words = 5 -%}
with

size as (
    select count(*) as records from {{ records }}
),

filled as (
    select column_name, count(value) as filled, min(value) as lowest, max(value) as highest
    from (
        select column_name, case when {{ distiller_udf._er_is_filled('value') }} then value end as value
        from (select * exclude (source, id, fingerprint) from ({{ distiller_udf._er_column_texts(records) }}))
        unpivot include nulls (value for column_name in (columns(*)))
    )
    {%- if columns %}
    where lower(column_name) in ({% for column in columns %}{{ distiller_udf._er_literal(column | lower) }}{{ ', ' if not loop.last }}{% endfor %})
    {%- endif %}
    group by column_name
),

constant as (
    select column_name, filled, lowest as value, filled >= {{ nearly_all }} * records as is_in_nearly_all
    from filled
    cross join size
    where lowest = highest and filled > 0.1 * records and filled > least({{ max_block }}, {{ nearly_all }} * records)
),

constant_texts as (
    select 0 as n, list(value) as texts
    from constant
    where is_in_nearly_all
),

constant_words as (
    select unnest({{ distiller_udf._er_words('text') | indent }}) as word
    from ({{ distiller_udf._er_folded_texts('constant_texts') | indent }})
),

common_terms as (
    select term, count(*) as records, any_value(n) as n
    from {{ tokens }}
    where level >= (select {{ distiller_udf._er_level(nearly_all ~ ' * records') }} from size)
    group by term
    having count(*) >= {{ nearly_all }} * (select records from size)
),

common_texts as (
    select common_terms.n, texts.texts
    from (select distinct n from common_terms) as common_terms
    inner join {{ blocking_records }} as numbered using (n)
    inner join ({{ distiller_udf._er_texts(records, columns, most=2000) }}) as texts using (source, id)
),

{#- A column that holds one value in nearly all records is named; its words need not be. #}
common_words as (
    select distinct words.word, common_terms.records
    from (
        select n, unnest({{ distiller_udf._er_words('text') | indent(8) }}) as word
        from ({{ distiller_udf._er_folded_texts('common_texts') | indent(8) }})
    ) as words
    inner join common_terms on words.n = common_terms.n and {{ distiller_udf._er_term('words.word') }} = common_terms.term
    anti join constant_words on words.word = constant_words.word
),

most_common_words as (
    select
        count(*) as words,
        list(left(word, 60) order by records desc, word)[:{{ named_words }}] as named,
        list(records order by records desc, word)[:{{ named_words }}] as named_records
    from common_words
),

large as (
    select
        way,
        kind,
        skipped_pairs,
        [block for block in largest_blocks if block.is_skipped] as blocks
    from {{ estimate }}
    where skipped_pairs > 0
),

{% if keyed -%}
filled_keys as (
    {% for way in keyed -%}
    {{ 'union all ' if not loop.first }}select
        {{ distiller_udf._er_literal(way['name']) }} as way,
        count(distinct source) as sources,
        count(distinct source) filter ({{ way['key'] }} is not null) as filled_sources,
        any_value(source) filter ({{ way['key'] }} is not null) as filled_source
    from {{ blocking_records }}
    {% endfor %}
),

{% endif -%}
{#- What is said of it, and what the records hold of which it is said. #}
found as (
    select
        1 as place,
        'empty_column' as cause,
        column_name as subject,
        format('the column {} is empty in every record; nothing can be found by it', column_name) as said,
        '' as held
    from filled
    where filled = 0

    union all

    select
        2,
        'constant_column',
        column_name,
        format('the column {} has one value in all {} records that have any; it tells none of them apart', column_name, filled),
        ''
    from constant

    union all

    select
        3,
        'common_word',
        array_to_string(named, ', '),
        format(
            'nearly all of the {} records have {} in common, which tells none of them apart',
            (select records from size),
            case when words = 1 then '1 word' else words || ' words' end
        ),
        format(
            ': {}{}',
            array_to_string([format('{} ({} records)', word, named_records[position]) for word, position in named], ', '),
            case when words > {{ named_words }} then format(' and {} more', words - {{ named_words }}) else '' end
        )
    from most_common_words
    where words > 0

    union all

    select
        4,
        'identical_records',
        block.value,
        format(
            '{} records have the same text; identical proposes {} pairs of them, and er_max_candidates may cut those',
            block.records, block.pairs
        ),
        ': ' || block.value
    from (select unnest(largest_blocks) as block from {{ estimate }} where kind = 'identical')
    where block.records > {{ max_block }}

    union all

    select
        5,
        'large_blocks',
        way,
        case kind
            when 'minhash' then format(
                '{} passes over {} pairs of bands that more records share than its max_block, which other bands may propose',
                way, skipped_pairs
            )
            when 'all' then format(
                '{} may leave out up to {} pairs of values that more records share than a max_block of its ways', way, skipped_pairs
            )
            else format('{} leaves out {} pairs of values that more records share than its max_block', way, skipped_pairs)
        end,
        format(
            ': {}',
            array_to_string([format('{} ({} records)', left(block.value, 60), block.records) for block in blocks], ', ')
        )
    from large
    {%- if keyed %}

    union all

    select
        6,
        'no_value',
        way,
        case
            when filled_sources = 0 then format('{} has no value in any record, so it proposes nothing', way)
            else format(
                '{} has a value in records of {} alone, so it proposes nothing: it needs one in both sources of a pair', way,
                filled_source
            )
        end,
        ''
    from filled_keys
    where filled_sources < {{ sides }} and sources >= {{ sides }}
    {%- endif %}
)

select cause, subject, said || held as message, said as message_without_values
from found
where (select records from size) >= 100 or cause = 'no_value'
order by place, subject
{% endmacro %}


{#- Log every warning in a relation in the form of er_blocking_warnings; a post-hook. -#}
{% macro _er_log_warnings(relation) %}
    {% if execute %}
        {% set message = 'message' if distiller_udf._er_logs_values() else 'message_without_values' %}
        {% for row in run_query('select ' ~ message ~ ' from ' ~ relation) %}
            {% do exceptions.warn('distiller_udf: blocking: ' ~ row[0] ~ '.') %}
        {% endfor %}
    {% endif %}
{% endmacro %}
