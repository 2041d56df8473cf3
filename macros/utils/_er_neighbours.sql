{#-
    SQL: the pairs among each other's top k by the cosine of their weights. Keys find and rank a shortlist for every
    record; all terms rank the shortlist.
-#}
{% macro _er_top_k(weights, numbered, task, top_k, mode) -%}
with keys as materialized (
    {{ distiller_udf._er_keys(weights, numbered) | indent }}
),

proposed as materialized (
    select l.n as left_n, r.n as right_n, sum(l.weight * r.weight) as score
    from keys as l
    inner join keys as r on l.key = r.key and {{ distiller_udf._er_is_pair(task) }}
    group by l.n, r.n
),

shortlist as materialized (
    {{ distiller_udf._er_nearest('proposed', numbered, top_k + 2, 'union') | indent }}
),

scored as materialized (
    {{ distiller_udf._er_cosine('shortlist', weights) | indent }}
)

{{ distiller_udf._er_nearest('scored', numbered, top_k, mode) }}
{%- endmacro %}


{#-
    SQL: the keys under which a record is found: its rare terms, and its common terms two by two, as far as the two
    together are rare. A first name and a town are in thousands of records each, but in few together.

    Rare is what fewer than 64 records have, more where there are so few records that it costs little: 4,096 up to 4,096
    records. A record has 128 rare terms at most and the pairs of ten common ones, the rarest first, so the work grows
    with the number of records, however the data are skewed. A record whose terms are all common, and common together,
    finds no neighbours.
-#}
{% macro _er_keys(weights, numbered) -%}
{#- Level, term and weight in one integer, whose order is the level's: so the rarest are found without a sort. -#}
{%- set term_unit = 2 ** 24 -%}
{%- set level_unit = 2 ** 56 -%}
with size as (
    select greatest(3, 12 - ceil(log2(greatest(count(*), 1)) / 2)) as common_level
    from {{ numbered }}
),

packed as (
    select
        n,
        level >= (select common_level from size) as is_common,
        level * {{ level_unit }}::ubigint + term * {{ term_unit }}::ubigint
            + cast(round(weight * {{ term_unit - 1 }}) as ubigint) as packed
    from {{ weights }}
    where records > 1
),

rarest as materialized (
    select
        n,
        min(packed, 128) filter (not is_common) as rare,
        min(packed, 10) filter (is_common) as common
    from packed
    group by n
),

terms as materialized (
    select
        n,
        is_common,
        packed // {{ term_unit }} % {{ level_unit // term_unit }} as term,
        cast(packed % {{ term_unit }} / {{ term_unit - 1 }} as float) as weight
    from (
        select n, false as is_common, unnest(rare) as packed from rarest
        union all
        select n, true, unnest(common) from rarest
    )
),

together as materialized (
    select l.n, hash(l.term, r.term) as key, cast(sqrt(l.weight * l.weight + r.weight * r.weight) as float) as weight
    from terms as l
    inner join terms as r on l.n = r.n and l.term < r.term
    where l.is_common and r.is_common
),

rare_together as (
    select key
    from together
    group by key
    having count(*) > 1 and {{ distiller_udf._er_level('count(*)') }} < (select common_level from size)
),

keys as (
    select n, term as key, weight from terms where not is_common
    union all
    select n, key, weight from together semi join rare_together using (key)
)

select keys.n, numbered.source_rank, keys.key, keys.weight
from keys
inner join {{ numbered }} as numbered on keys.n = numbered.n
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
