{#-
    Each record's shortlist: the records of every source that share the most with it, by its terms.

    Keys find and rank the shortlists; all terms together then rank the pairs in them. What the last run found is kept,
    as far as it stands: a record is compared anew where its signature has changed, or where another has left a place
    in its shortlist; all others only with these. The result is the same as if nothing had been known.
-#}
{% macro er_neighbours(terms, blocking_records, sources, task='auto', top_k=6, former=none) %}
    {{ return(adapter.dispatch('er_neighbours', 'distiller_udf')(terms, blocking_records, sources, task, top_k, former)) }}
{% endmacro %}


{% macro duckdb__er_neighbours(terms, blocking_records, sources, task, top_k, former) %}
{%- set task = distiller_udf._er_task(task, sources) -%}
{#- More than the top k, for the ranking by keys is a rough one. -#}
{%- set length = top_k + 2 if top_k else 0 -%}
{#- All that a shortlist depends on besides the signatures; another number at its start makes all of them anew. -#}
{%- set settings = tojson([2, task, length, distiller_udf._er_source_names(sources)]) -%}
-- er_view: numbered
select n, source_rank, source, id from {{ blocking_records }}

-- er_view: terms
select * from {{ terms }}
{%- if not length %}
where false
{%- endif %}

-- er_step: size
select
    greatest(3, 12 - ceil(log2(greatest(count(*), 1)) / 2)) as common_level,
    concat({{ distiller_udf._er_literal(settings) }}, any_value(typeof(id)), common_level) as settings
from numbered

{{ distiller_udf._er_keys('terms', '(select common_level from size)') }}

-- er_view: former
{% if former is none -%}
select numbered.*, 0::ubigint as signature, [{'n': n, 'shared': 0, 'score': 0}] as shortlist from numbered where false
{%- else -%}
select * from {{ former }} where settings = (select settings from size)
{%- endif %}

-- er_step: known
select
    numbered.n,
    former.n as former_n,
    coalesce(signed.signature, 0) as signature,
    coalesce(former.signature = coalesce(signed.signature, 0), false) as is_unchanged
from numbered
left join signed using (n)
left join former on numbered.source = former.source and cast(numbered.id as varchar) = cast(former.id as varchar)

{#- other_n is NULL where the other record is gone or has changed. #}
-- er_step: remembered
select own.n, other.n as other_n, listed.shared, listed.score
from (select n as former_n, unnest(shortlist, recursive := true) from former) as listed (former_n, former_other_n, shared, score)
inner join known as own on listed.former_n = own.former_n and own.is_unchanged
left join known as other on listed.former_other_n = other.former_n and other.is_unchanged

-- er_step: active
select n from known where not is_unchanged
union
select n from remembered where other_n is null

-- er_step: keys
select
    found_under.n,
    found_under.key,
    found_under.weight,
    numbered.source_rank,
    active.n is not null as is_active
from found_under
inner join numbered using (n)
left join active using (n)

-- er_step: compared
select
    least(l.n, r.n) as left_n,
    greatest(l.n, r.n) as right_n,
    cast(round(sum(l.weight * r.weight) * 1e6) as integer) as shared
from keys as l
inner join keys as r
    on l.key = r.key
    and {{ distiller_udf._er_may_meet(task) }}
    and l.is_active and (not r.is_active or l.n < r.n)
group by least(l.n, r.n), greatest(l.n, r.n)

-- er_view: directed
{{ distiller_udf._er_both_ways('compared', 'shared') }}
union all
select n, other_n, shared
from remembered
where
    n not in (from active)
    and other_n not in (from active)

-- er_step: listed
{{ distiller_udf._er_top_k('directed', 'numbered', length) }}

-- er_step: recalled
select least(n, other_n) as left_n, greatest(n, other_n) as right_n, any_value(score) as score
from remembered
where other_n is not null
group by least(n, other_n), greatest(n, other_n)

-- er_step: unscored
select distinct least(n, other_n) as left_n, greatest(n, other_n) as right_n
from listed
anti join recalled on least(listed.n, listed.other_n) = recalled.left_n and greatest(listed.n, listed.other_n) = recalled.right_n

-- er_step: scored
select left_n, right_n, score from recalled
union all
{{ distiller_udf._er_cosine('unscored', 'terms') }}

-- er_view: shortlists
select listed.n, list({'n': listed.other_n, 'shared': listed.score, 'score': scored.score}) as shortlist
from listed
inner join scored
    on least(listed.n, listed.other_n) = scored.left_n and greatest(listed.n, listed.other_n) = scored.right_n
group by listed.n

-- er_step: neighbours
select
    numbered.n,
    numbered.source,
    numbered.id,
    known.signature,
    coalesce(list_sort(shortlists.shortlist), []) as shortlist,
    (select settings from size) as settings
from numbered
inner join known using (n)
left join shortlists using (n)
{% endmacro %}
