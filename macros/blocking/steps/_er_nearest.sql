{#-
    SQL: of scored pairs, in both directions, the top k of each record; k for each source that the other record may be
    from. Score (in millionths) and record are packed into one integer: a top k then costs no sort, and ties go to the
    first record.
-#}
{% macro _er_top_k(directed, numbered, top_k) -%}
select
    n,
    cast(4294967295 - packed % 4294967296 as uinteger) as other_n,
    cast(packed // 4294967296 as integer) as score
from (
    select directed.n, unnest(max(cast(directed.score as bigint) * 4294967296 + 4294967295 - directed.other_n, {{ top_k }})) as packed
    from {{ directed }} as directed
    inner join {{ numbered }} as other on directed.other_n = other.n
    group by directed.n, other.source_rank
)
{%- endmacro %}


{#- SQL: pairs in both directions. -#}
{% macro _er_both_ways(pairs, score='score') -%}
select left_n as n, right_n as other_n, {{ score }} as score from {{ pairs }}
union all
select right_n, left_n, {{ score }} from {{ pairs }}
{%- endmacro %}


{#- Who has to have whom among its top k, where the mode is auto: whoever may have no more than one match. -#}
{% macro _er_blocking_mode(mode, constraint) %}
    {% do return(
        ['union', 'left', 'mutual'][distiller_udf._er_limited_sides(constraint) | length] if mode == 'auto' else mode
    ) %}
{% endmacro %}


{#- SQL: the pairs that are among the top k of one record, the other, or both. -#}
{% macro _er_nearest(scored, numbered, top_k, mode) -%}
{%- set kept = {
    'mutual': 'count(*) = 2', 'union': 'true', 'left': 'bool_or(n < other_n)', 'right': 'bool_or(n > other_n)'
}[mode] -%}
with directed as (
    {{ distiller_udf._er_both_ways(scored) | indent }}
),

nearest as (
    {{ distiller_udf._er_top_k('directed', numbered, top_k) | indent }}
)

select least(n, other_n) as left_n, greatest(n, other_n) as right_n
from nearest
group by least(n, other_n), greatest(n, other_n)
having {{ kept }}
{%- endmacro %}
