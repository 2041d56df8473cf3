{#-
    What in the records keeps blocking from being of use: columns that are empty or say the same everywhere, words that
    nearly all records have, many records with one text, values that too many records share. Nothing is said of fewer
    than 100 records.
-#}
{% macro er_blocking_warnings(records, blocking_records, tokens, estimate, columns=none, max_block=100) %}
    {{ return(adapter.dispatch('er_blocking_warnings', 'distiller_udf')(
        records, blocking_records, tokens, estimate, columns, max_block
    )) }}
{% endmacro %}


{% macro default__er_blocking_warnings(records, blocking_records, tokens, estimate, columns, max_block) %}
    {% do distiller_udf._er_not_supported('er_blocking_warnings') %}
{% endmacro %}


{% macro duckdb__er_blocking_warnings(records, blocking_records, tokens, estimate, columns, max_block) %}
{%- set nearly_all = 0.9 -%}
with

records as (
    select * from {{ records }}
),

size as (
    select count(*) as records from records
),

filled as (
    select column_name, count(value) as filled, min(value) as lowest, max(value) as highest
    from (
        select column_name, case when {{ distiller_udf._er_is_filled('value') }} then value end as value
        from (select columns(* exclude (source, id, fingerprint))::varchar from records)
        unpivot include nulls (value for column_name in (columns(*)))
    )
    {%- if columns %}
    where lower(column_name) in ({% for column in columns %}{{ distiller_udf._er_literal(column | lower) }}{{ ', ' if not loop.last }}{% endfor %})
    {%- endif %}
    group by column_name
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
    inner join ({{ distiller_udf._er_texts('records', columns) | indent }}) as texts using (source, id)
),

common_words as (
    select distinct word, common_terms.records
    from (select n, unnest(words) as word from ({{ distiller_udf._er_words('common_texts') | indent }})) as words
    inner join common_terms on words.n = common_terms.n and {{ distiller_udf._er_term('words.word') }} = common_terms.term
),

found as (
    select
        1 as place,
        'empty_column' as cause,
        column_name as subject,
        format('the column {} is empty in every record; nothing can be found by it', column_name) as message
    from filled
    where filled = 0

    union all

    select
        2,
        'constant_column',
        column_name,
        format('the column {} has one value in all {} records that have any; nothing can be found by it', column_name, filled)
    from filled
    where filled > 1 and lowest = highest

    union all

    select
        3,
        'common_word',
        word,
        format('{} of {} records have the word {}; it tells them apart no better than none', records, (select records from size), word)
    from common_words
    where not exists (
        select 1 from filled where filled > 1 and lowest = highest and contains(lower(strip_accents(lowest)), common_words.word)
    )

    union all

    select
        4,
        'identical_records',
        block.value,
        format(
            '{} records have {}; each becomes a candidate of one of its twins in every source, not of all',
            block.records, block.value
        )
    from (select unnest(largest_blocks) as block from {{ estimate }} where kind = 'identical')
    where block.records > {{ max_block }}

    union all

    select
        5,
        'large_blocks',
        way,
        format(
            '{} leaves out {} pairs, which share what more records do than its max_block; the largest: {}',
            way,
            skipped_pairs,
            array_to_string([
                format('{} ({} records)', coalesce(left(block.value, 60), ''), block.records)
                for block in largest_blocks if block.is_skipped
            ], ', ')
        )
    from {{ estimate }}
    where skipped_pairs > 0
)

select cause, subject, message
from found
where (select records from size) >= 100
order by place, subject
{% endmacro %}


{#- Log every warning in a relation in the form of er_blocking_warnings; a post-hook. -#}
{% macro _er_log_warnings(relation) %}
    {% if execute %}
        {% for row in run_query('select message from ' ~ relation) %}
            {% do exceptions.warn('distiller_udf: blocking: ' ~ row[0] ~ '.') %}
        {% endfor %}
    {% endif %}
{% endmacro %}
