{#- SQL: the records numbered in the order in which a pair names them, with the texts of their columns. -#}
{% macro _er_numbered(records, sources, columns=none) -%}
{%- set texts = [] -%}
{%- for column in columns or [] -%}
    {%- do texts.append(distiller_udf._er_quote(column)) -%}
{%- endfor -%}
{%- set texts = texts | join(', ') or '*columns(* exclude (source, id, fingerprint))' -%}
with as_text as (
    select source, id, fingerprint, columns(* exclude (source, id, fingerprint))::varchar
    from {{ records }}
)

select
    row_number() over (order by {{ distiller_udf._er_source_rank('source', sources) }}, id) as n,
    {{ distiller_udf._er_source_rank('source', sources) }} as source_rank,
    source,
    id,
    {#- What a long value goes on to say after 2,000 characters finds fewer pairs, not more, and costs time. #}
    [left(value, 2000) for value in list_value({{ texts }})] as texts
from as_text
{%- endmacro %}


{#- SQL: a number of 32 bits for a text. The few texts that share one cost no more than a little of the ranking. -#}
{% macro _er_term(text) -%}
cast(hash({{ text }}) % 4294967296 as uinteger)
{%- endmacro %}


{#- SQL: the words of each column of each record: letters, marks and digits of any script, without case and accents. -#}
{% macro _er_words(numbered) -%}
select
    n,
    field,
    [
        word
        for word in string_split_regex(lower(strip_accents(text)), '[^\p{L}\p{M}\p{N}]+')
        if word != ''
    ] as words
from (
    select cast(n as uinteger) as n, unnest(texts) as text, cast(generate_subscripts(texts, 1) as usmallint) as field
    from {{ numbered }}
)
where text is not null
{%- endmacro %}


{#- SQL: the distinct words of each column, hashed. -#}
{% macro _er_tokens(words) -%}
select n, field, {{ distiller_udf._er_term('unnest(list_distinct(words))') }} as term
from {{ words }}
{%- endmacro %}


{#-
    SQL: the distinct q-grams of each column, hashed, over its words with one space between and around them. A word is
    cut up together with the beginning of the next one, and once for all records that have it: that is many times faster
    than cutting up whole texts.
-#}
{% macro _er_qgrams(words, size) -%}
with chunks as (
    select distinct n, field, unnest(chunks) as chunk
    from (
        select
            n,
            field,
            [
                ' ' || word || ' ' || left(coalesce(words[position + 1], ''), {{ size - 2 }})
                for word, position in words
            ] as chunks
        from {{ words }}
    )
),

cut as (
    select chunk, list_distinct([
        {{ distiller_udf._er_term('substr(chunk, start, ' ~ size ~ ')') }}
        for start in range(1, greatest(length(chunk) - {{ size - 2 }}, 2))
    ]) as terms
    from (select distinct chunk from chunks)
)

select distinct n, field, unnest(terms) as term
from chunks
inner join cut using (chunk)
{%- endmacro %}


{#-
    SQL: each record's terms with their weights; the weights of one record have length 1. A term counts by its rarity
    (IDF) in every column that holds it, and less in a column that says much: divided by the square root of the
    column's own length. So a title of five words is heard beside a description of two hundred, and a year is not
    louder than the title.

    Rarity goes by levels: level 0 are the terms of up to 3 records, level 1 those of 4 to 15, then 16 to 63, and so on.
    A new record changes the level of few terms, so nearly all weights stay what they were.
-#}
{% macro _er_weights(terms) -%}
with rarity as (
    select
        term,
        cast(count(*) as uinteger) as records,
        cast({{ distiller_udf._er_level('count(*)') }} as utinyint) as level
    from (select distinct term, n from {{ terms }})
    group by term
),

weighted as (
    select
        terms.n,
        terms.field,
        terms.term,
        rarity.records,
        rarity.level,
        cast(
            greatest((select {{ distiller_udf._er_level('count(distinct n)') }} from {{ terms }}) - rarity.level, 0) * ln(4) + 1e-6
            as float
        ) as idf
    from {{ terms }} as terms
    inner join rarity using (term)
),

columns_length as (
    select n, field, sqrt(sum(idf * idf)) as length
    from weighted
    group by n, field
),

in_record as (
    select
        weighted.n,
        weighted.term,
        any_value(weighted.records) as records,
        any_value(weighted.level) as level,
        cast(sum(weighted.idf / sqrt(columns_length.length)) as float) as weight
    from weighted
    inner join columns_length using (n, field)
    group by weighted.n, weighted.term
),

records_length as (
    select n, sqrt(sum(weight * weight)) as length
    from in_record
    group by n
)

select in_record.* replace (cast(in_record.weight / records_length.length as float) as weight)
from in_record
inner join records_length using (n)
{%- endmacro %}


{#- SQL: a number by its order of magnitude: 0 up to 3, 1 up to 15, 2 up to 63, and so on by powers of 4. -#}
{% macro _er_level(number) -%}
floor(log2(greatest({{ number }}, 1)) / 2)
{%- endmacro %}
