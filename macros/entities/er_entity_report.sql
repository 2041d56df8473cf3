{#-
    The largest entities, and the weakest link that holds each together: the best match without which it would fall apart
    into two, were all worse ones missing as well. A wrong match that joins two entities is such a link.

    Steps of a model that is materialized as er_steps.
-#}
{% macro er_entity_report(entities, matches, entity_count=100) %}
    {{ return(adapter.dispatch('er_entity_report', 'distiller_udf')(entities, matches, entity_count)) }}
{% endmacro %}


{% macro duckdb__er_entity_report(entities, matches, entity_count) %}
-- er_step: largest
select distinct entity_id, entity_size
from {{ entities }}
where entity_size > 1
order by entity_size desc, entity_id
limit {{ entity_count }}

-- er_step: numbered
select row_number() over (order by entities.entity_id, entities.source, entities.id) as n, entities.*
from {{ entities }} as entities
semi join largest using (entity_id)

-- er_step: edges
select
    l.n as a,
    r.n as b,
    l.entity_id,
    matches.* exclude (decided_by),
    matches.decided_by = 'must_link' as is_must,
    hash({{ distiller_udf._er_pair('matches') }}) as tie,
    row_number() over (order by {{ distiller_udf._er_best_edges_first() }}) as priority
from {{ matches }} as matches
{{ distiller_udf._er_with_records('matches', 'numbered') }} and l.entity_id = r.entity_id

-- er_step: tree
select a, b, priority, entity_id
from edges
semi join ({{ distiller_udf._er_spanning_tree('edges') | indent }}) as taken using (priority)

-- er_step: weakest
select edges.*
from edges
semi join (select max(priority) as priority from tree group by entity_id) as last using (priority)

-- er_step: rest
select a, b from tree anti join weakest using (priority)

-- er_step: parts
{{ distiller_udf._er_components('rest') }}

-- er_step: report
select
    largest.entity_id,
    largest.entity_size,
    (select count(*) from edges where edges.entity_id = largest.entity_id) as matches,
    weakest.probability as weakest_probability,
    weakest.choice_probability as weakest_choice_probability,
    weakest.is_must as weakest_is_must_link,
    {{ distiller_udf._er_pair('weakest') }},
    greatest(1, (select count(*) from parts where component = l.component)) as left_size,
    greatest(1, (select count(*) from parts where component = r.component)) as right_size
from largest
inner join weakest using (entity_id)
left join parts as l on weakest.a = l.n
left join parts as r on weakest.b = r.n
order by largest.entity_size desc, largest.entity_id
{% endmacro %}
