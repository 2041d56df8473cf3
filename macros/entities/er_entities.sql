{#-
    Every record with its entity: what the matches connect, as far as the limits of an entity allow.

    An entity keeps its id from run to run. It goes where the oldest of the records goes that the entity still has; where
    several entities come together, the one with the oldest record keeps its id; a new one is named after its oldest
    record. Older is what was seen in an earlier run, then what comes first in the order of the sources and their ids.

    Steps of a model that is materialized as er_steps.
-#}
{% macro er_entities(
    matches, records, sources, task='auto', constraint='auto', max_size=none, cannot_links=none, former=none
) %}
    {{ return(adapter.dispatch('er_entities', 'distiller_udf')(
        matches, records, sources, task, constraint, max_size, cannot_links, former
    )) }}
{% endmacro %}


{% macro duckdb__er_entities(matches, records, sources, task, constraint, max_size, cannot_links, former) %}
{%- if flags.EMPTY and former is not none -%}
{#- `dbt build --empty` tries the SQL on no records; ids that last outlast that. -#}
-- er_step: entities
select * from {{ former }}
{%- else -%}
{%- set one_of_each = distiller_udf._er_constraint(constraint, distiller_udf._er_task(task, sources)) == 'one_to_one' -%}
{%- set limited = (one_of_each and (sources | length) > 2) or max_size is not none or cannot_links is not none -%}
-- er_step: numbered
select
    cast(row_number() over (order by {{ distiller_udf._er_source_rank('source', sources) }}, id) as uinteger) as n,
    cast({{ distiller_udf._er_source_rank('source', sources) }} as utinyint) as source_rank,
    source,
    id
from {{ records }}

-- er_step: edges
select
    l.n as a,
    r.n as b,
    {%- if limited %}
    matches.probability,
    matches.choice_probability,
    matches.decided_by = 'must_link' as is_must,
    hash({{ distiller_udf._er_pair('matches') }}) as tie,
    {%- endif %}
from {{ matches }} as matches
{{ distiller_udf._er_with_records('matches', 'numbered') }}
where l.n != r.n

-- er_step: connected
{{ distiller_udf._er_components('edges') }}

{% if limited -%}
{% if cannot_links is not none -%}
-- er_step: apart
select l.n as a, r.n as b
from ({{ distiller_udf._er_links(cannot_links, records, sources, 'er_cannot_links') | indent }}) as links
{{ distiller_udf._er_with_records('links', 'numbered') }}

{% endif -%}
{{ distiller_udf._er_limited('connected', 'edges', 'numbered', 'apart' if cannot_links is not none else none, one_of_each, max_size) }}

{% endif -%}
-- er_view: clustered
select
    numbered.n,
    coalesce({{ 'limited.cluster, ' if limited }}connected.component, numbered.n) as cluster
from numbered
left join connected using (n)
{%- if limited %}
left join limited using (n)
{%- endif %}

-- er_view: former
{% if former is none -%}
select source, id, null::varchar as entity_id, null::timestamp as first_seen from numbered where false
{%- else -%}
select source, id, entity_id, first_seen from {{ former }}
{%- endif %}

{#- A record's age is one number: when it was first seen, then where it stands. #}
-- er_step: aged
select
    numbered.n,
    clustered.cluster,
    former.entity_id as former_id,
    coalesce(former.first_seen, {{ distiller_udf._er_now() }}) as first_seen,
    epoch_us(coalesce(former.first_seen, {{ distiller_udf._er_now() }}))::hugeint * 4294967296 + numbered.n as age
from numbered
inner join clustered using (n)
left join former on numbered.source = former.source and cast(numbered.id as varchar) = cast(former.id as varchar)

-- er_step: heirs
select former_id, min(age) as age, arg_min(cluster, age) as cluster
from aged
where former_id is not null
group by former_id

-- er_step: named
select
    members.cluster,
    members.entity_size,
    inherited.entity_id as kept_id,
    oldest.source || ':' || cast(oldest.id as varchar) as own_id
from (select cluster, count(*) as entity_size, arg_min(n, age) as oldest_n from aged group by cluster) as members
inner join numbered as oldest on members.oldest_n = oldest.n
left join (
    select cluster, arg_min(former_id, age) as entity_id from heirs group by cluster
) as inherited on members.cluster = inherited.cluster

{#- The name of a record that has left the entity which is named after it is taken: the next one is name~2. #}
-- er_step: taken
with used as (
    select coalesce(kept_id, own_id) as entity_id from named
),

numbered_names as (
    select entity_id as name, 1 as number from used
    union all
    select regexp_replace(entity_id, '~[0-9]+$', ''), try_cast(regexp_extract(entity_id, '~([0-9]+)$', 1) as bigint)
    from used
    where regexp_matches(entity_id, '~[0-9]+$')
)

select name, max(coalesce(number, 1)) as last
from numbered_names
where name in (select own_id from named where kept_id is null and own_id in (select kept_id from named))
group by name

-- er_step: entities
select
    numbered.source,
    numbered.id,
    coalesce(named.kept_id, named.own_id || '~' || (taken.last + 1), named.own_id) as entity_id,
    named.entity_size,
    aged.first_seen
from numbered
inner join aged using (n)
inner join named on aged.cluster = named.cluster
left join taken on named.kept_id is null and named.own_id = taken.name
{%- endif %}
{% endmacro %}
