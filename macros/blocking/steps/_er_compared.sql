{#-
    Steps that end in `compared`: the pairs with the mean of their cosines by tokens and by q-grams. What the shortlists
    know is not computed anew.
-#}
{% macro _er_compared_by_text(nearest) -%}
{% for terms in ['tokens', 'qgrams'] -%}
-- er_step: unknown_by_{{ terms }}
select left_n, right_n
from pairs
{%- if terms in nearest %}
anti join near_by_{{ terms }} using (left_n, right_n)
{%- endif %}

-- er_step: by_{{ terms }}
{{ distiller_udf._er_cosine('unknown_by_' ~ terms, terms) }}
{%- if terms in nearest %}
union all
select left_n, right_n, score from near_by_{{ terms }}
{%- endif %}

{% endfor -%}
-- er_step: compared
select pairs.*, least((by_tokens.score + by_qgrams.score) / 2e6, 1) as similarity
from pairs
inner join by_tokens using (left_n, right_n)
inner join by_qgrams using (left_n, right_n)
{%- endmacro %}


{#- A step, `compared`: the pairs with the share of the ways that propose them. -#}
{% macro _er_compared_by_ways(ways) -%}
-- er_view: compared
select *, len(blocked_by) / {{ ways | length }} as similarity from pairs
{%- endmacro %}


{#-
    Steps that end in `kept`: the compared pairs without the neighbours that are far below the best candidate of either
    record in the other's source. What another way proposes is a candidate whatever its words are like.

    However far below, a pair stays that is among the two best of both records under one_to_one, of the left one under
    many_to_one and one_to_many, of either without a constraint: a noisy record would have no candidate beside its cleaner rivals.
-#}
{% macro _er_near_the_best(ways, share_of_best, constraint) -%}
{%- set nearest = [] -%}
{#- Embeddings find what says the same in other words: its words do not tell how near it is. -#}
{%- for way in ways if way['kind'] in ('tokens', 'qgrams') -%}
    {%- do nearest.append(distiller_udf._er_literal(way['name'])) -%}
{%- endfor -%}
{#- How a candidate stands among those that a record has in a source: its place, and the similarity of the best. -#}
-- er_step: standings
select
    paired.n,
    paired.other_n,
    row_number() over rivals as place,
    first_value(paired.score) over rivals as best
from (
    {{ distiller_udf._er_both_ways('compared', 'similarity') | indent }}
) as paired
inner join numbered as other on paired.other_n = other.n
window rivals as (
    partition by paired.n, other.source_rank
    order by paired.score desc, paired.other_n
)

-- er_step: kept
select compared.*
from compared
inner join standings as l on compared.left_n = l.n and compared.right_n = l.other_n
inner join standings as r on compared.right_n = r.n and compared.left_n = r.other_n
where
    compared.similarity >= {{ share_of_best }} * greatest(l.best, r.best)
    {#- The second best of both says what is no match; without it there would be nothing to learn that from. #}
    or {{ ['least(l.place, r.place)', 'l.place', 'greatest(l.place, r.place)'][distiller_udf._er_limited_sides(constraint) | length] }} <= 2
    or not list_has_all([{{ nearest | join(', ') }}]::varchar[], compared.blocked_by)
{%- endmacro %}
