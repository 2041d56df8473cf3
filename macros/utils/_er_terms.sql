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


{#- SQL: the words of each column of each record: letters, marks and digits of any script, without case and accents. -#}
{% macro _er_words(numbered) -%}
select
    n,
    source_rank,
    field,
    [
        word
        for word in string_split_regex(lower(strip_accents(text)), '[^\p{L}\p{M}\p{N}]+')
        if word != ''
    ] as words
from (
    select n, source_rank, unnest(texts) as text, generate_subscripts(texts, 1) as field
    from {{ numbered }}
)
where text is not null
{%- endmacro %}


{#- SQL: the distinct words of each column, hashed. -#}
{% macro _er_tokens(words) -%}
select n, source_rank, field, hash(unnest(list_distinct(words))) as term
from {{ words }}
{%- endmacro %}


{#-
    SQL: the distinct q-grams of each column, hashed, over its words with one space between and around them. A word is
    cut up together with the beginning of the next one, and once for all records that have it: that is many times faster
    than cutting up whole texts.
-#}
{% macro _er_qgrams(words, size) -%}
with chunks as (
    select distinct n, source_rank, field, unnest(chunks) as chunk
    from (
        select
            n,
            source_rank,
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
        hash(substr(chunk, start, {{ size }}))
        for start in range(1, greatest(length(chunk) - {{ size - 2 }}, 2))
    ]) as terms
    from (select distinct chunk from chunks)
)

select distinct n, source_rank, field, unnest(terms) as term
from chunks
inner join cut using (chunk)
{%- endmacro %}


{#-
    SQL: each record's terms with their weights; the weights of one record have length 1. A term counts by its rarity
    (IDF) in every column that holds it, and less in a column that says much: divided by the square root of the
    column's own length. So a title of five words is heard beside a description of two hundred, and a year is not
    louder than the title.
-#}
{% macro _er_weights(terms) -%}
with rarity as (
    select
        term,
        count(distinct n) as records,
        ln((select count(distinct n) from {{ terms }}) / count(distinct n)) + 1e-6 as idf
    from {{ terms }}
    group by term
),

in_column as (
    select
        terms.n,
        terms.source_rank,
        terms.term,
        rarity.records,
        rarity.idf / sqrt(sqrt(sum(rarity.idf * rarity.idf) over (partition by terms.n, terms.field))) as weight
    from {{ terms }} as terms
    inner join rarity using (term)
),

in_record as (
    select n, term, any_value(source_rank) as source_rank, any_value(records) as records, sum(weight) as weight
    from in_column
    group by n, term
)

select
    n,
    source_rank,
    term,
    records,
    weight / sqrt(sum(weight * weight) over (partition by n)) as weight
from in_record
{%- endmacro %}
