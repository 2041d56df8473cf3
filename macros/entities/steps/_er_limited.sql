{#-
    Steps that end in `limited`: the clusters of the components that break a limit of entities. A row for each of their
    records, n, with its cluster.
-#}
{% macro _er_limited(connected, edges, numbered, apart, one_of_each, max_size) -%}
-- er_step: strained
{% if max_size is not none -%}
select component from {{ connected }} group by component having count(*) > {{ max_size }}
{% endif -%}
{% if one_of_each -%}
{{ 'union' if max_size is not none }}
select component
from {{ connected }}
inner join {{ numbered }} as numbered using (n)
group by component, source_rank
having count(*) > 1
{% endif -%}
{% if apart is not none -%}
{{ 'union' if one_of_each or max_size is not none }}
select l.component
from {{ apart }} as apart
inner join {{ connected }} as l on apart.a = l.n
inner join {{ connected }} as r on apart.b = r.n
where l.component = r.component
{% endif %}

-- er_step: strained_records
select n from {{ connected }} where component in (from strained)

-- er_step: strained_edges
select a, b, is_must, row_number() over (order by {{ distiller_udf._er_best_edges_first() }}) as priority
from {{ edges }}
where a in (from strained_records)

-- er_step: limited
{{ distiller_udf._er_agglomerated('strained_records', 'strained_edges', numbered, apart, one_of_each, max_size) }}
{%- endmacro %}


{#-
    SQL: the order of matches from the best to the worst. Equals go by a hash of their records: in the order of the records
    a long chain of equal matches would be joined one by one, a round each.
-#}
{% macro _er_best_edges_first() -%}
is_must desc, coalesce(choice_probability, probability) desc nulls last, probability desc nulls last, tie, least(a, b), greatest(a, b)
{%- endmacro %}
