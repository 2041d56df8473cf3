{#-
    What became of the records' entities since the last run: a row for every record whose entity is another one than the
    rows before say, by `former`, and when.
-#}
{% macro er_entity_changes(entities, former=none) %}
    {{ return(adapter.dispatch('er_entity_changes', 'distiller_udf')(entities, former)) }}
{% endmacro %}


{% macro duckdb__er_entity_changes(entities, former) %}
with

after as (
    select source, cast(id as varchar) as id, entity_id from {{ entities }}
),

before as (
    {% if former is none -%}
    select source, id, entity_id from after where false
    {%- else -%}
    select source, id, last.entity_id as entity_id
    from (
        select source, id, arg_max({'entity_id': to_entity_id}, changed_at) as last
        from {{ former }}
        group by source, id
    )
    where last.entity_id is not null
    {%- endif %}
),

moved as (
    select source, id, before.entity_id as from_entity_id, after.entity_id as to_entity_id
    from before
    full outer join after using (source, id)
    where before.entity_id is distinct from after.entity_id
)

select
    {{ distiller_udf._er_now() }} as changed_at,
    source,
    id,
    from_entity_id,
    to_entity_id,
    case
        when from_entity_id is null and to_entity_id in (select entity_id from before) then 'joined'
        when from_entity_id is null then 'appeared'
        {#- What is left of the entity of a record that is gone may have another id by now. #}
        when to_entity_id is null and from_entity_id in (select entity_id from before semi join after using (source, id)) then 'left'
        when to_entity_id is null then 'vanished'
        when to_entity_id not in (select entity_id from before) then 'split'
        when from_entity_id in (select entity_id from after) then 'moved'
        else 'merged'
    end as change
from moved
{%- if flags.EMPTY %}
{#- `dbt build --empty` sees no records; nothing has become of them. #}
where false
{%- endif %}
{% endmacro %}
