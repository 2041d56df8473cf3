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
    The same where all ways are equality: each adds the pairs that none before it has, with the keys of their records, which
    costs no more than the joins. A value that too many records share counts as none. Pairs that are read once only are
    no table of their own.
-#}
{% macro _er_united_equal(ways, task, is_read_once) -%}
-- er_step: keyed
select
    n,
    source_rank,
    source,
    id,
    {% for way in ways -%}
    case when {{ way['key'] }} not in ({{ distiller_udf._er_crowded('numbered', way['key'], way['max_block']) }}) then {{ way['key'] }} end as {{ way['key'] }},
    {% endfor %}
from numbered

-- er_{{ 'view' if is_read_once else 'step' }}: pairs
{% for way in ways -%}
{{ 'union all\n' if not loop.first }}select
    l.n as left_n,
    r.n as right_n,
    l.source as left_source,
    l.id as left_id,
    r.source as right_source,
    r.id as right_id,
    [
        name
        for name in [
            {%- for other in ways | sort(attribute='name', case_sensitive=true) %}
            case when l.{{ other['key'] }} = r.{{ other['key'] }} then {{ distiller_udf._er_literal(other['name']) }} end{{ ',' if not loop.last }}
            {%- endfor %}
        ]
        if name is not null
    ] as blocked_by
{% if task == 'link' -%}
{#- Sources stand in their order: the first one is never on the right, the last one never on the left. -#}
from (from keyed where source_rank < (select max(source_rank) from keyed)) as l
inner join (from keyed where source_rank > 1) as r on l.{{ way['key'] }} = r.{{ way['key'] }} and l.source_rank < r.source_rank
{%- else -%}
from keyed as l
inner join keyed as r on l.{{ way['key'] }} = r.{{ way['key'] }} and l.n < r.n and {{ distiller_udf._er_may_meet(task) }}
{%- endif %}
{%- for earlier in ways[:loop.index0] %}
    and (l.{{ earlier['key'] }} = r.{{ earlier['key'] }}) is not true
{%- endfor %}
{% endfor %}
{%- endmacro %}


{#- SQL: the scored pairs in the shortlists of a relation in the form of er_neighbours_by_tokens, each once. -#}
{% macro _er_listed(neighbours) -%}
select least(n, other_n) as left_n, greatest(n, other_n) as right_n, max(score) as score
from (select n, unnest(shortlist, recursive := true) from {{ neighbours }}) as listed (n, other_n, shared, score)
group by least(n, other_n), greatest(n, other_n)
{%- endmacro %}
