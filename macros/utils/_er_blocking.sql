{#- The ways of blocking that a setting stands for. -#}
{% macro _er_blocking(blocking, rules) %}
    {% set ways = [blocking] if blocking is string else blocking | list %}
    {% set chosen = [] %}
    {% if 'auto' in ways or 'tokens' in ways %}
        {% do chosen.append('tokens') %}
    {% endif %}
    {% if 'auto' in ways or 'qgrams' in ways %}
        {% do chosen.append('qgrams') %}
    {% endif %}
    {% if 'rules' in ways and not rules %}
        {% do distiller_udf._er_raise('er_blocking is rules, but er_blocking_rules is empty; name at least one.') %}
    {% endif %}
    {% if rules %}
        {% do chosen.append('rules') %}
    {% endif %}
    {% do return(chosen) %}
{% endmacro %}


{#- SQL: the records numbered in the order in which a pair names them, with their text. -#}
{% macro _er_numbered(records, sources, columns=none) -%}
{%- set texts = [] -%}
{%- for column in columns or [] -%}
    {%- do texts.append('cast(' ~ distiller_udf._er_quote(column) ~ ' as varchar)') -%}
{%- endfor -%}
select
    row_number() over (order by {{ distiller_udf._er_source_rank('source', sources) }}, id) as n,
    {{ distiller_udf._er_source_rank('source', sources) }} as source_rank,
    source,
    id,
    list_filter(
        string_split_regex(
            lower(strip_accents(left(concat_ws(' ', {{ texts | join(', ') or '*columns(* exclude (source, id, fingerprint))' }}), 10000))),
            '[^\p{L}\p{M}\p{N}]+'
        ),
        lambda word: word != ''
    ) as words
from {{ records }}
{%- endmacro %}


{#- SQL: each record's distinct words, hashed. -#}
{% macro _er_tokens(numbered) -%}
select n, source_rank, hash(unnest(list_distinct(words))) as term
from {{ numbered }}
{%- endmacro %}


{#- SQL: each record's distinct q-grams, hashed, over its words with one space between and around them. -#}
{% macro _er_qgrams(numbered, size) -%}
select distinct n, source_rank, hash(substr(text, position, {{ size }})) as term
from (
    select
        n,
        source_rank,
        ' ' || array_to_string(words, ' ') || ' ' as text,
        unnest(range(1, greatest(length(text) - {{ size - 2 }}, 2))) as position
    from {{ numbered }}
    where len(words) > 0
)
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


{#- SQL: the pairs among each other's top k by IDF-weighted cosine, over an inverted index. -#}
{% macro _er_top_k(terms, task, top_k, mode) -%}
with counted as (
    select term, count(*) as records
    from {{ terms }}
    group by term
    having count(*) > 1
),

affordable as (
    select
        term,
        ln((select count(distinct n) from {{ terms }}) / records::double) + 1e-6 as idf
    from counted
    qualify sum(records * records) over (order by records, term) <= 2000 * (select count(distinct n) from {{ terms }})
),

weighted as materialized (
    select n, source_rank, term, idf / sqrt(sum(idf * idf) over (partition by n)) as weight
    from {{ terms }}
    inner join affordable using (term)
),

scored as (
    select l.n as left_n, r.n as right_n, any_value(l.source_rank) as left_rank, any_value(r.source_rank) as right_rank, sum(l.weight * r.weight) as score
    from weighted as l
    inner join weighted as r on l.term = r.term and {{ distiller_udf._er_is_pair(task) }}
    group by l.n, r.n
),

directed as (
    select left_n, right_n, left_n as n, right_rank as other, right_n as other_n, score, true as is_left from scored
    union all
    select left_n, right_n, right_n as n, left_rank as other, left_n as other_n, score, false as is_left from scored
),

near as (
    select left_n, right_n, is_left
    from directed
    qualify row_number() over (partition by n, other order by score desc, other_n) <= {{ top_k }}
)

select left_n, right_n
from near
group by left_n, right_n
having {{ {'mutual': 'count(*) = 2', 'union': 'true', 'left': 'bool_or(is_left)', 'right': 'bool_or(not is_left)'}[mode] }}
{%- endmacro %}


{#- SQL: the IDF-weighted cosine of given pairs over all their terms, 0 where they share none. -#}
{% macro _er_cosine(pairs, terms) -%}
with weighted_all as materialized (
    select
        n,
        term,
        ln(1 + (select count(distinct n) from {{ terms }}) / count(*) over (partition by term)::double) as idf
    from {{ terms }}
),

norms as (
    select n, sqrt(sum(idf * idf)) as norm from weighted_all group by n
),

products as (
    select pairs.left_n, pairs.right_n, sum(l.idf * l.idf) as product
    from {{ pairs }} as pairs
    inner join weighted_all as l on pairs.left_n = l.n
    inner join weighted_all as r on pairs.right_n = r.n and l.term = r.term
    group by pairs.left_n, pairs.right_n
)

select
    pairs.left_n,
    pairs.right_n,
    least(coalesce(products.product / (l.norm * r.norm), 0), 1) as similarity
from {{ pairs }} as pairs
left join products using (left_n, right_n)
left join norms as l on pairs.left_n = l.n
left join norms as r on pairs.right_n = r.n
{%- endmacro %}
