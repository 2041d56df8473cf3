{#- SQL: the cosine of given pairs over all their terms, in millionths, 0 where they share none. -#}
{% macro _er_cosine(pairs, weights) -%}
select
    pairs.left_n,
    pairs.right_n,
    cast(round(coalesce(sum(l.weight * r.weight), 0) * 1e6) as integer) as score
from {{ pairs }} as pairs
left join {{ weights }} as l on pairs.left_n = l.n
left join {{ weights }} as r on pairs.right_n = r.n and l.term = r.term
group by pairs.left_n, pairs.right_n
{%- endmacro %}
