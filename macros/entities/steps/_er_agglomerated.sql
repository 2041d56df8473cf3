{#-
    SQL: clusters of records, made by taking edges (a, b, is_must, priority; the best has the smallest priority) from
    the best to the worst, each unless it would break a limit: two records of a source, more records than max_size, or
    both records of a pair that is to stay apart. A row for every member, n, with its cluster.

    A round takes at once every edge that is the best of both its clusters, for nothing that is taken later changes what
    such an edge may do: the result is that of one pass over the sorted edges (Kruskal's algorithm, with edges refused).
    A cluster may grow by one record a round, so there are as many rounds as the largest one has records at most.
    Must-links break the first two limits.
-#}
{% macro _er_agglomerated(members, edges, numbered, apart=none, one_of_each=false, max_size=none) -%}
{%- set fits = [] -%}
{%- if max_size is not none -%}
    {%- do fits.append('len(l.sources) + len(r.sources) <= ' ~ max_size) -%}
{%- endif -%}
{%- if one_of_each -%}
    {%- do fits.append('not list_has_any(l.sources, r.sources)') -%}
{%- endif -%}
with recursive

{#- An edge is between two clusters, a and b; a label says that record a is in cluster b. #}
rounds as (
    select 0 as round, false as is_label, a, b, is_must, priority from {{ edges }}
    union all
    select 0, true, n, n, null, null from {{ members }}
    union all
    select * from (
        with

        labels as materialized (
            select round, a as n, b as cluster from rounds where is_label
        ),

        clusters as materialized (
            select labels.cluster, list(numbered.source_rank) as sources
            from labels
            inner join {{ numbered }} as numbered using (n)
            group by labels.cluster
        ),

        {% if apart is not none -%}
        clusters_apart as materialized (
            select distinct least(l.cluster, r.cluster) as a, greatest(l.cluster, r.cluster) as b
            from {{ apart }} as apart
            inner join labels as l on apart.a = l.n
            inner join labels as r on apart.b = r.n
        ),

        {% endif -%}
        open_edges as materialized (
            select rounds.*
            from rounds
            inner join clusters as l on rounds.a = l.cluster
            inner join clusters as r on rounds.b = r.cluster
            {% if apart is not none -%}
            anti join clusters_apart
                on least(rounds.a, rounds.b) = clusters_apart.a and greatest(rounds.a, rounds.b) = clusters_apart.b
            {% endif -%}
            where not rounds.is_label and (rounds.is_must or ({{ fits | join(' and ') or 'true' }}))
        ),

        best as materialized (
            select cluster, min(priority) as priority
            from (select a as cluster, priority from open_edges union all select b, priority from open_edges)
            group by cluster
        ),

        taken as materialized (
            select open_edges.*
            from open_edges
            inner join best as l on open_edges.a = l.cluster and open_edges.priority = l.priority
            inner join best as r on open_edges.b = r.cluster and open_edges.priority = r.priority
        ),

        joined as materialized (
            select greatest(a, b) as cluster, least(a, b) as joins from taken
        )

        {{ distiller_udf._er_contracted('is_label', 'open_edges.is_must, open_edges.priority') | indent(8) }}

        union all

        select labels.round + 1, true, labels.n, coalesce(joined.joins, labels.cluster), null, null
        from labels
        left join joined using (cluster)
        where exists (select 1 from open_edges)
    )
)

select a as n, b as cluster
from rounds
where is_label and round = (select max(round) from rounds where is_label)
{%- endmacro %}
