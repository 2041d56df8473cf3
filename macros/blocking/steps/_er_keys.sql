{#-
    Steps that end in `signed` and `found_under`: one number for all that decides about a record's neighbours, and the
    keys under which it is found.

    Keys are a record's rare terms, and its common terms two by two, as far as the two together are rare. A first name
    and a town are in thousands of records each, but in few together. A term is rare that fewer than 64 records have, more
    where there are fewer records: 4,096 up to 4,096 records; a pair of terms that half as many have.

    Keys cost work: a record meets all that have them. It has the pairs of ten common terms and 128 rare terms at most,
    the rarest first, as long as these meet no more than 8,192 records together; 65,536 where there are 4,096 records or
    fewer, 16,384 where there are up to four times as many.
    So the work grows with the number of records, however the data are skewed. A record whose terms are all common, and
    common together, finds no neighbours.

    A record's signature is the same in two runs where it has the same terms with the same weights, and the same of its
    pairs of common terms are too common to be a key. Then what it shares with any other such record is the same too.
-#}
{% macro _er_keys(weights, common_level) -%}
{#- Level, term and weight in one integer, whose order is the level's: so the rarest are found without a sort. -#}
{%- set term_unit = 2 ** 25 -%}
{%- set level_unit = 2 ** 57 -%}
{%- set most_terms = 128 -%}
{%- set most_met = 'greatest(8192, pow(4, ' ~ common_level ~ ' + 2))' -%}
-- er_view: packed
select
    n,
    level >= {{ common_level }} as is_common,
    is_shared and level < {{ common_level }} as is_rare,
    pow(4, level + 1) as met,
    level * {{ level_unit }}::ubigint + term * {{ term_unit }}::ubigint + cast(weight * {{ 2 ** 24 }} as ubigint) as packed
from {{ weights }}

-- er_step: summed
select
    n,
    count(*) filter (is_rare) > {{ most_terms }} or sum(met) filter (is_rare) > {{ most_met }} as has_many,
    min(packed, 10) filter (is_common) as common,
    bit_xor(hash(packed)) as signature
from packed
group by n

{#- Only where there are too many, the rarest are sought: room for 128 a record is much memory. #}
-- er_step: rarest_of_many
select n, list(packed order by packed) as rare
from (
    select n, packed, sum(pow(4, packed // {{ level_unit }} + 1)) over (partition by n order by packed) as met
    from (
        select n, unnest(min(packed, {{ most_terms }})) as packed
        from packed
        semi join (from summed where has_many) using (n)
        where is_rare
        group by n
    )
)
where met <= {{ most_met }}
group by n

-- er_step: rare_terms
select packed.n, packed.packed
from packed
anti join (from summed where has_many) using (n)
where packed.is_rare
union all
select n, unnest(rare) from rarest_of_many

-- er_step: common_terms
select
    n,
    packed // {{ term_unit }} % {{ level_unit // term_unit }} as term,
    cast(packed % {{ term_unit }} / {{ 2 ** 24 }} as float) as weight
from (select n, unnest(common) as packed from summed)

-- er_step: together
select
    l.n,
    hash(l.term, r.term) as key,
    {{ distiller_udf._er_exact('sqrt(l.weight * l.weight + r.weight * r.weight)', 20) }} as weight
from common_terms as l
inner join common_terms as r on l.n = r.n and l.term < r.term

-- er_step: shared_together
select key, 2 * count(*) >= pow(4, {{ common_level }}) as is_common
from together
group by key
having count(*) > 1

-- er_step: signed
select n, bit_xor(signature) as signature
from (
    select n, signature from summed
    union all
    {#- Where all places are taken, a term that is shared since today takes one from another. #}
    select n, hash(rare) from rarest_of_many
    union all
    select n, bit_xor(hash(key)) from together semi join (from shared_together where is_common) using (key) group by n
)
group by n

-- er_view: found_under
select
    n,
    packed // {{ term_unit }} % {{ level_unit // term_unit }} as key,
    cast(packed % {{ term_unit }} / {{ 2 ** 24 }} as float) as weight
from rare_terms
union all
select n, key, weight from together semi join (from shared_together where not is_common) using (key)
{%- endmacro %}
