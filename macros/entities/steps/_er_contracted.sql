{#-
    SQL: the open edges after a round in which clusters have joined others, given `open_edges` and `joined` (cluster, joins):
    between the clusters that their ends are in now, without those whose ends have come together. `flag` is the column of
    the rounds that tells edges from what else they hold.
-#}
{% macro _er_contracted(flag, columns) -%}
select
    open_edges.round + 1 as round,
    false as {{ flag }},
    coalesce(l.joins, open_edges.a) as a,
    coalesce(r.joins, open_edges.b) as b,
    {{ columns }}
from open_edges
left join joined as l on open_edges.a = l.cluster
left join joined as r on open_edges.b = r.cluster
where coalesce(l.joins, open_edges.a) != coalesce(r.joins, open_edges.b)
{%- endmacro %}
