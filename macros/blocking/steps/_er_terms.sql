{#- SQL: a number of 32 bits for a text. The few texts that share one cost no more than a little of the ranking. -#}
{% macro _er_term(text) -%}
cast(hash({{ text }}) % 4294967296 as uinteger)
{%- endmacro %}


{#- SQL: the texts of each record, a list in the order of the columns, each cut after so many characters. -#}
{% macro _er_texts(records, columns, most=none) -%}
{%- set texts = [] -%}
{%- for column in columns or [] -%}
    {%- do texts.append(distiller_udf._er_quote(column)) -%}
{%- endfor -%}
{%- set texts = texts | join(', ') or '*columns(* exclude (source, id, fingerprint))' -%}
select
    source,
    id,
    [
        case when {{ distiller_udf._er_is_filled('value') }} then {{ 'left(value, ' ~ most ~ ')' if most is not none else 'value' }} end
        for value in list_value({{ texts }})
    ] as texts
from ({{ distiller_udf._er_column_texts(records) }})
{%- endmacro %}


{#- SQL: the columns of each record as texts; what is nested, or holds JSON, as its leaves. -#}
{% macro _er_column_texts(records) -%}
{%- set columns = 'columns(* exclude (source, id, fingerprint))' -%}
select source, id, fingerprint, {{ distiller_udf._er_text_or_leaves(columns) }}
from (select source, id, fingerprint, {{ distiller_udf._er_text(columns) }} from {{ records }})
{%- endmacro %}


{#- A step, `terms`: the distinct words of each column, hashed. -#}
{% macro _er_tokens(folded) -%}
-- er_step: terms
select n, field, {{ distiller_udf._er_term('unnest(' ~ distiller_udf._er_words('text') ~ ')') }} as term
from {{ folded }}
{%- endmacro %}


{#-
    Steps that end in `terms`: the distinct q-grams of each column, hashed, over its parts with one space between and
    around them. A part is cut up together with the beginning of the next one, and once for all records that have it:
    that is many times faster than cutting up whole texts.
-#}
{% macro _er_qgrams(folded, size) -%}
-- er_view: words
select n, field, {{ distiller_udf._er_parts('text') }} as words from {{ folded }}

-- er_step: chunks
select distinct n, field, unnest(chunks) as chunk
from (
    select
        n,
        field,
        [
            ' ' || word || ' ' || left(coalesce(words[position + 1], ''), {{ size - 2 }})
            for word, position in words
        ] as chunks
    from words
)

-- er_step: cut
select chunk, list_distinct([
    {{ distiller_udf._er_term('substr(chunk, start, ' ~ size ~ ')') }}
    for start in range(1, greatest(length(chunk) - {{ size - 2 }}, 2))
]) as terms
from (select distinct chunk from chunks)

-- er_step: terms
select distinct n, field, unnest(terms) as term
from chunks
inner join cut using (chunk)
{%- endmacro %}


{#-
    Steps that end in `weights`: each record's terms with their weights; the weights of one record have length 1. A term
    counts by its rarity (IDF) in every column that holds it, and less in a column that says much: divided by the square
    root of the column's own length. So a title of five words is heard beside a description of two hundred, and a year
    is not louder than the title.

    Rarity goes by levels: level 0 are the terms of up to 3 records, level 1 those of 4 to 15, then 16 to 63, and so on.
    A new record changes the level of few terms, so nearly all weights stay what they were.

    Every figure that is added up is a multiple of a small power of two: the sums are exact, so neither the order in
    which threads add nor what was known before shows in a weight.
-#}
{% macro _er_weights(terms) -%}
-- er_step: rarity
select
    term,
    count(*) > 1 as is_shared,
    cast({{ distiller_udf._er_level('count(*)') }} as utinyint) as level
from (select distinct term, n from {{ terms }})
group by term

-- er_step: size
select {{ distiller_udf._er_level('count(distinct n)') }} as level from {{ terms }}

-- er_view: rated
select
    terms.n,
    terms.field,
    terms.term,
    rarity.is_shared,
    rarity.level,
    {#- What nearly all records have counts next to nothing, not nothing: else records without rare terms had no length. #}
    cast(greatest((select level from size) - rarity.level, 0) + {{ 2 ** -12 }} as float) as idf
from {{ terms }} as terms
inner join rarity using (term)

-- er_step: columns_length
select n, field, sqrt(sum(idf * idf)) as length
from rated
group by n, field

-- er_step: weighted
select
    rated.n,
    rated.term,
    any_value(rated.is_shared) as is_shared,
    any_value(rated.level) as level,
    cast(sum({{ distiller_udf._er_exact('rated.idf / sqrt(columns_length.length)', 14) }}) as float) as weight
from rated
inner join columns_length using (n, field)
group by rated.n, rated.term

-- er_step: records_length
select n, sqrt(sum(weight * weight)) as length
from weighted
group by n

-- er_step: weights
select
    weighted.n,
    weighted.term,
    weighted.is_shared,
    weighted.level,
    {{ distiller_udf._er_exact('weighted.weight / records_length.length', 24) }} as weight
from weighted
inner join records_length using (n)
{%- endmacro %}


{#- SQL: a number, rounded to a multiple of a power of two. -#}
{% macro _er_exact(number, bits) -%}
cast(round({{ number }} * {{ 2 ** bits }}) / {{ 2 ** bits }} as float)
{%- endmacro %}


{#- SQL: a number by its order of magnitude: 0 up to 3, 1 up to 15, 2 up to 63, and so on by powers of 4. -#}
{% macro _er_level(number) -%}
floor(log2(greatest({{ number }}, 1)) / 2)
{%- endmacro %}
