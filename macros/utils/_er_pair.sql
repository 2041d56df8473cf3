{#- SQL: the columns that name a pair, of `relation` where one is given. -#}
{% macro _er_pair(relation=none) -%}
    {%- set of = relation ~ '.' if relation is not none else '' -%}
    {{ of }}left_source, {{ of }}left_id, {{ of }}right_source, {{ of }}right_id
{%- endmacro %}


{#- SQL: joins that add to pairs their records, l and r, from a relation that holds them by source and id. -#}
{% macro _er_with_records(pairs, records, join='inner join') -%}
{{ join }} {{ records }} as l on {{ pairs }}.left_source = l.source and {{ pairs }}.left_id = l.id
{{ join }} {{ records }} as r on {{ pairs }}.right_source = r.source and {{ pairs }}.right_id = r.id
{%- endmacro %}


{#-
    Which records of a pair have at most one match in the other's source, each with the other: both under one_to_one, the
    left one alone under many_to_one and one_to_many, for `_er_source_rank` puts it there.
-#}
{% macro _er_limited_sides(constraint) %}
    {% set sides = [('left', 'right'), ('right', 'left')] %}
    {% do return(sides[:{'one_to_one': 2, 'many_to_one': 1, 'one_to_many': 1, 'none': 0}[constraint]]) %}
{% endmacro %}


{#- SQL: how many pairs of records the task allows, an aggregate over sources with so many `records` each. -#}
{% macro _er_count_pairs(task) -%}
{%- set all_pairs = 'sum(records) * (sum(records) - 1) // 2' -%}
{%- set within = 'sum(records * (records - 1)) // 2' -%}
{{ {'link': all_pairs ~ ' - ' ~ within, 'dedupe': within, 'link_and_dedupe': all_pairs}[task] }}
{%- endmacro %}
