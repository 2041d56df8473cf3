{#- SQL: the pairs that a way of blocking proposes, left_n and right_n, each once. -#}
{% macro _er_proposals(way, task) -%}
{%- set kind = way['kind'] -%}
{%- if kind in ('tokens', 'qgrams', 'embeddings') -%}
    {{ distiller_udf._er_nearest('near_by_' ~ kind, 'numbered', way['top_k'], way['mode']) }}
{%- elif kind == 'equal' -%}
    {{ distiller_udf._er_equal('numbered', way['key'], task, way['max_block']) }}
{%- elif kind == 'sorted' -%}
    {{ distiller_udf._er_sorted('numbered', way['key'], task, way['window']) }}
{%- elif kind == 'minhash' -%}
    {{ distiller_udf._er_minhash(way['terms'], 'numbered', task, way['bands'], way['rows'], way['max_block']) }}
{%- elif kind == 'identical' -%}
    {{ distiller_udf._er_identical('numbered', task) }}
{%- elif kind == 'all' -%}
    {% for part in way['ways'] -%}
    {{ 'intersect ' if not loop.first }}(
        {{ distiller_udf._er_proposals(part, task) | indent }}
    )
    {% endfor %}
{%- endif -%}
{%- endmacro %}


{#- SQL: pairs of records with the same value of a key, unless too many records share it. -#}
{% macro _er_equal(numbered, key, task, max_block) -%}
with keyed as (
    select n, source_rank, {{ key }} as value
    from {{ numbered }}
    where {{ key }} not in ({{ distiller_udf._er_crowded(numbered, key, max_block) }})
)

select l.n as left_n, r.n as right_n
from keyed as l
inner join keyed as r on l.value = r.value and l.n < r.n and {{ distiller_udf._er_may_meet(task) }}
{%- endmacro %}


{#- SQL: the values of a key that too many records share. -#}
{% macro _er_crowded(numbered, key, max_block) -%}
select {{ key }} from {{ numbered }} where {{ key }} is not null group by {{ key }} having count(*) > {{ max_block }}
{%- endmacro %}


{#- SQL: pairs of records that are less than a window apart, where all are in the order of a key (sorted neighbourhood). -#}
{% macro _er_sorted(numbered, key, task, window) -%}
with placed as (
    select
        n,
        source_rank,
        row_number() over ({{ 'partition by source_rank ' if task == 'dedupe' }}order by {{ key }}, n) as place
    from {{ numbered }}
    where {{ key }} is not null
)

select least(l.n, r.n) as left_n, greatest(l.n, r.n) as right_n
from (select *, unnest(range(1, {{ window }})) as distance from placed) as l
inner join placed as r on l.place + l.distance = r.place and {{ distiller_udf._er_may_meet(task) }}
{%- endmacro %}


{#-
    SQL: pairs of records whose sets of terms have a band of minimal hashes in common (MinHash, locality-sensitive
    hashing), unless too many records share it. Two records whose terms have the Jaccard similarity s meet with
    probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).
-#}
{% macro _er_minhash(terms, numbered, task, bands, rows, max_block) -%}
with bands as materialized (
    select *
    from ({{ distiller_udf._er_minhash_bands(terms, numbered, bands, rows) | indent }})
    qualify count(*) over (partition by band) <= {{ max_block }}
)

select distinct l.n as left_n, r.n as right_n
from bands as l
inner join bands as r on l.band = r.band and l.n < r.n and {{ distiller_udf._er_may_meet(task) }}
{%- endmacro %}


{#- SQL: the hashed bands of minimal hashes of each record's terms. -#}
{% macro _er_minhash_bands(terms, numbered, bands, rows) -%}
select numbered.n, numbered.source_rank, unnest(banded.bands) as band
from (
    select
        n,
        [
            {%- for band in range(bands) %}
            hash({{ band }}
                {%- for row in range(band * rows, (band + 1) * rows) %}, min(hash(term + {{ row * 4294967296 }}::ubigint)){% endfor %})
            {{- ',' if not loop.last }}
            {%- endfor %}
        ] as bands
    from {{ terms }}
    group by n
) as banded
inner join {{ numbered }} as numbered using (n)
{%- endmacro %}


{#-
    SQL: pairs of records with the very same text. However many there are, each is paired with one of its twins in every
    other source, and in its own source with the next one: enough for them to end in one entity, with as many pairs as
    there are records. The top k cannot do that, for twins crowd out each other.
-#}
{% macro _er_identical(numbered, task) -%}
with members as (
    select n, source_rank, text, row_number() over (partition by text, source_rank order by n) as position
    from {{ numbered }}
    where text is not null
),

sizes as (
    select text, source_rank, count(*) as members
    from members
    group by text, source_rank
),

wanted as materialized (
    select
        l.n,
        l.source_rank,
        l.text,
        r.source_rank as twin_rank,
        case
            when l.source_rank = r.source_rank then l.position + 1
            else (l.position - 1) % r.members + 1
        end as twin_position
    from members as l
    inner join sizes as r on l.text = r.text and {{ distiller_udf._er_may_meet(task) }}
)

select distinct least(wanted.n, twin.n) as left_n, greatest(wanted.n, twin.n) as right_n
from wanted
inner join members as twin
    on wanted.text = twin.text and wanted.twin_rank = twin.source_rank and wanted.twin_position = twin.position
{%- endmacro %}
