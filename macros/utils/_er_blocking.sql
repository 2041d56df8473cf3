{#- The ways of blocking that a setting stands for: some of tokens, qgrams, rules. -#}
{% macro _er_blocking(blocking, rules) %}
    {% set ways = [blocking] if blocking is string else blocking | list %}
    {% if 'rules' in ways and not rules %}
        {% do distiller_udf._er_raise('er_blocking has rules, but er_blocking_rules is empty; name at least one.') %}
    {% endif %}
    {% if rules and 'rules' not in ways and 'auto' not in ways %}
        {% do distiller_udf._er_raise(
            'er_blocking_rules are set, but er_blocking is ' ~ (ways | join(', ')) ~ '; add rules to it, or drop them.'
        ) %}
    {% endif %}
    {% set chosen = [] %}
    {% for way in ['tokens', 'qgrams', 'rules'] if way in ways or ('auto' in ways and (way != 'rules' or rules)) %}
        {% do chosen.append(way) %}
    {% endfor %}
    {% do return(chosen) %}
{% endmacro %}


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


{#- SQL: the condition under which two numbered records may be a pair. -#}
{% macro _er_is_pair(task, l='l', r='r') -%}
    {{ l }}.n < {{ r }}.n
    {%- if task == 'link' %} and {{ l }}.source_rank != {{ r }}.source_rank
    {%- elif task == 'dedupe' %} and {{ l }}.source_rank = {{ r }}.source_rank{% endif %}
{%- endmacro %}


{#- SQL: pairs of records whose expression has the same value, unless too many records share it. -#}
{% macro _er_same_value(records, numbered, expression, task, max_block) -%}
with keyed as (
    select numbered.n, numbered.source_rank, keys.key
    from (select source, id, ({{ expression }}) as key from {{ records }}) as keys
    inner join {{ numbered }} as numbered using (source, id)
    where keys.key is not null and trim(cast(keys.key as varchar)) != ''
    qualify count(*) over (partition by keys.key) <= {{ max_block }}
)

select l.n as left_n, r.n as right_n
from keyed as l
inner join keyed as r on l.key = r.key and {{ distiller_udf._er_is_pair(task) }}
{%- endmacro %}


{#-
    SQL: pairs of records with the very same text. However many there are, each is paired with one of its twins in every
    other source, and in its own source with the next one: enough for them to end in one entity, and no more pairs than
    records. The top k cannot do that, for twins crowd out each other.
-#}
{% macro _er_identical(numbered, task) -%}
with members as (
    select
        n,
        source_rank,
        text,
        row_number() over (partition by text, source_rank order by n) as position
    from (select n, source_rank, md5(lower(texts::varchar)) as text from {{ numbered }} where list_any_value(texts) is not null)
),

sizes as (
    select text, source_rank, count(*) as members
    from members
    group by text, source_rank
),

wanted as materialized (
    select
        members.n,
        members.source_rank,
        members.text,
        sizes.source_rank as twin_rank,
        case
            when members.source_rank = sizes.source_rank then members.position + 1
            else (members.position - 1) % sizes.members + 1
        end as twin_position
    from members
    inner join sizes using (text)
    {%- if task == 'link' %}
    where members.source_rank != sizes.source_rank
    {%- elif task == 'dedupe' %}
    where members.source_rank = sizes.source_rank
    {%- endif %}
)

select distinct least(wanted.n, twin.n) as left_n, greatest(wanted.n, twin.n) as right_n
from wanted
inner join members as twin
    on wanted.text = twin.text and wanted.twin_rank = twin.source_rank and wanted.twin_position = twin.position
{%- endmacro %}


{#-
    SQL: the pairs among each other's top k by the cosine of their weights. An inverted index over the rarer terms finds
    and ranks a shortlist for every record; all terms rank the shortlist. Terms are taken from the rarest on, as long as
    the index proposes no more than 1,000 pairs a record, and 200 a record beyond the first ten million: that bounds the
    work, however the data are skewed. Records of which every term is commoner than that find no neighbours.
-#}
{% macro _er_top_k(weights, numbered, task, top_k, mode) -%}
with budget as (
    select least(1000 * count(*), 10000000 + 200 * count(*)) as proposals
    from {{ numbered }}
),

affordable as (
    select term
    from (select term, any_value(records) as records from {{ weights }} where records > 1 group by term)
    {#- Terms that are equally rare are taken or left together: no order among them could be explained. #}
    qualify sum(records * (records - 1)) over (order by records) <= (select proposals from budget)
),

postings as materialized (
    select n, source_rank, term, weight from {{ weights }} semi join affordable using (term)
),

proposed as materialized (
    select l.n as left_n, r.n as right_n, sum(l.weight * r.weight) as score
    from postings as l
    inner join postings as r on l.term = r.term and {{ distiller_udf._er_is_pair(task) }}
    group by l.n, r.n
),

shortlist as materialized (
    {{ distiller_udf._er_nearest('proposed', numbered, top_k + 5, 'union') | indent }}
),

scored as materialized (
    {{ distiller_udf._er_cosine('shortlist', weights) | indent }}
)

{{ distiller_udf._er_nearest('scored', numbered, top_k, mode) }}
{%- endmacro %}


{#-
    SQL: of scored pairs those that are among the top k of one record, the other, or both; k for each source that the
    other record may be from. Score and record are packed into one integer: a top k then costs no sort, and ties go to
    the first record.
-#}
{% macro _er_nearest(scored, numbered, top_k, mode) -%}
{%- set kept = {
    'mutual': 'count(*) = 2', 'union': 'true', 'left': 'bool_or(is_left)', 'right': 'bool_or(not is_left)'
}[mode] -%}
select least(n, other_n) as left_n, greatest(n, other_n) as right_n
from (
    select n, 4294967295 - unnest(best) % 4294967296 as other_n
    from (
        select directed.n, max(directed.packed, {{ top_k }}) as best
        from (
            select
                left_n as n,
                right_n as other_n,
                cast(round(score * 1e6) as bigint) * 4294967296 + 4294967295 - right_n as packed
            from {{ scored }}
            union all
            select
                right_n,
                left_n,
                cast(round(score * 1e6) as bigint) * 4294967296 + 4294967295 - left_n
            from {{ scored }}
        ) as directed
        inner join {{ numbered }} as other on directed.other_n = other.n
        group by directed.n, other.source_rank
    )
)
cross join lateral (select n < other_n as is_left)
group by least(n, other_n), greatest(n, other_n)
having {{ kept }}
{%- endmacro %}


{#- SQL: the cosine of given pairs over all their terms, 0 where they share none. -#}
{% macro _er_cosine(pairs, weights) -%}
select
    pairs.left_n,
    pairs.right_n,
    coalesce(sum(l.weight * r.weight), 0) as score
from {{ pairs }} as pairs
left join {{ weights }} as l on pairs.left_n = l.n
left join {{ weights }} as r on pairs.right_n = r.n and l.term = r.term
group by pairs.left_n, pairs.right_n
{%- endmacro %}
