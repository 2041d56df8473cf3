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
