{#- Steps that end in `pairs`: those that any way proposes, with the names of all that do. -#}
{% macro _er_united(ways, task) -%}
{% for way in ways -%}
-- er_step: proposals_{{ loop.index }}
{{ distiller_udf._er_proposals(way, task) }}

{% endfor -%}
-- er_step: pairs
select left_n, right_n, list(distinct way order by way) as blocked_by
from (
    {% for way in ways -%}
    {{ 'union all ' if not loop.first }}select left_n, right_n, {{ distiller_udf._er_literal(way['name']) }} as way from proposals_{{ loop.index }}
    {% endfor %}
)
group by left_n, right_n
{%- endmacro %}


{#-
    The same where all ways are equality: each adds the pairs that none before it has, which costs no more than the joins.
    A value that too many records share counts as none.
-#}
{% macro _er_united_equal(ways, task) -%}
-- er_step: keyed
select
    n,
    source_rank,
    {% for way in ways -%}
    case when count(*) over (partition by {{ way['key'] }}) <= {{ way['max_block'] }} then {{ way['key'] }} end as {{ way['key'] }},
    {% endfor %}
from numbered

-- er_view: pairs
{% for way in ways -%}
{{ 'union all\n' if not loop.first }}select
    l.n as left_n,
    r.n as right_n,
    [
        name
        for name in [
            {%- for other in ways | sort(attribute='name') %}
            case when l.{{ other['key'] }} = r.{{ other['key'] }} then {{ distiller_udf._er_literal(other['name']) }} end{{ ',' if not loop.last }}
            {%- endfor %}
        ]
        if name is not null
    ] as blocked_by
from keyed as l
inner join keyed as r on l.{{ way['key'] }} = r.{{ way['key'] }} and l.n < r.n and {{ distiller_udf._er_may_meet(task) }}
{%- for earlier in ways[:loop.index0] %}
    and (l.{{ earlier['key'] }} = r.{{ earlier['key'] }}) is not true
{%- endfor %}
{% endfor %}
{%- endmacro %}


{#- SQL: the scored pairs in the shortlists of a relation in the form of er_neighbours_by_tokens, each once. -#}
{% macro _er_listed(neighbours) -%}
select least(n, other_n) as left_n, greatest(n, other_n) as right_n, any_value(score) as score
from (select n, unnest(shortlist, recursive := true) from {{ neighbours }}) as listed (n, other_n, shared, score)
group by least(n, other_n), greatest(n, other_n)
{%- endmacro %}
