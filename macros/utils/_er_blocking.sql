{#- The ways of blocking that a setting stands for: some of tokens, qgrams, rules. -#}
{% macro _er_blocking(blocking, rules) %}
    {% set ways = [blocking] if blocking is string else blocking | list %}
    {% if 'rules' in ways and not rules %}
        {% do distiller_udf._er_raise('er_blocking has rules, but er_blocking_rules is empty; name at least one.') %}
    {% endif %}
    {% if rules and 'rules' not in ways and 'auto' not in ways %}
        {% do distiller_udf._er_raise(
            'er_blocking_rules are set, but er_blocking is ' ~ (ways | join(', ')) ~ '; add rules to it, or drop them.'
        ) %}
    {% endif %}
    {% set chosen = [] %}
    {% for way in ['tokens', 'qgrams', 'rules'] if way in ways or ('auto' in ways and (way != 'rules' or rules)) %}
        {% do chosen.append(way) %}
    {% endfor %}
    {% do return(chosen) %}
{% endmacro %}


{#- SQL: the condition under which two numbered records may be a pair. -#}
{% macro _er_is_pair(task, l='l', r='r') -%}
    {{ l }}.n < {{ r }}.n
    {%- if task == 'link' %} and {{ l }}.source_rank != {{ r }}.source_rank
    {%- elif task == 'dedupe' %} and {{ l }}.source_rank = {{ r }}.source_rank{% endif %}
{%- endmacro %}


{#- SQL: pairs of records whose expression has the same value, unless too many records share it. -#}
{% macro _er_same_value(records, numbered, expression, task, max_block) -%}
with keyed as (
    select numbered.n, numbered.source_rank, keys.key
    from (select source, id, ({{ expression }}) as key from {{ records }}) as keys
    inner join {{ numbered }} as numbered using (source, id)
    where keys.key is not null and trim(cast(keys.key as varchar)) != ''
    qualify count(*) over (partition by keys.key) <= {{ max_block }}
)

select l.n as left_n, r.n as right_n
from keyed as l
inner join keyed as r on l.key = r.key and {{ distiller_udf._er_is_pair(task) }}
{%- endmacro %}


{#-
    SQL: pairs of records with the very same text. However many there are, each is paired with one of its twins in every
    other source, and in its own source with the next one: enough for them to end in one entity, with as many pairs as
    there are records. The top k cannot do that, for twins crowd out each other.
-#}
{% macro _er_identical(numbered, task) -%}
with members as (
    select
        n,
        source_rank,
        text,
        row_number() over (partition by text, source_rank order by n) as position
    from (select n, source_rank, md5(lower(texts::varchar)) as text from {{ numbered }} where list_any_value(texts) is not null)
),

sizes as (
    select text, source_rank, count(*) as members
    from members
    group by text, source_rank
),

wanted as materialized (
    select
        members.n,
        members.source_rank,
        members.text,
        sizes.source_rank as twin_rank,
        case
            when members.source_rank = sizes.source_rank then members.position + 1
            else (members.position - 1) % sizes.members + 1
        end as twin_position
    from members
    inner join sizes using (text)
    {%- if task == 'link' %}
    where members.source_rank != sizes.source_rank
    {%- elif task == 'dedupe' %}
    where members.source_rank = sizes.source_rank
    {%- endif %}
)

select distinct least(wanted.n, twin.n) as left_n, greatest(wanted.n, twin.n) as right_n
from wanted
inner join members as twin
    on wanted.text = twin.text and wanted.twin_rank = twin.source_rank and wanted.twin_position = twin.position
{%- endmacro %}
