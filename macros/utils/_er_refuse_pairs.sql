{#- Raise where the ways of blocking would propose more pairs than allowed, naming the one to blame; a pre-hook. -#}
{% macro _er_refuse_pairs(estimate, max_pairs) %}
    {% if not execute or max_pairs is none %}
        {% do return('') %}
    {% endif %}
    {% set named = "'{} ({} records, {} pairs)', left(block.value, 60)" %}
    {% set unnamed = "'of {} records ({} pairs)'" %}
    {% set rows = run_query(
        "select cast(sum(pairs) over () as bigint), way, pairs, array_to_string(["
        ~ "format(" ~ (named if distiller_udf._er_logs_values() else unnamed) ~ ", block.records, block.pairs) "
        ~ "for block in largest_blocks if not block.is_skipped], ', ') as blocks from "
        ~ estimate ~ " order by pairs desc, way limit 1"
    ) %}
    {% for total, way, pairs, blocks in rows if total > max_pairs %}
        {% do distiller_udf._er_raise(
            'blocking would propose up to ' ~ total ~ ' pairs, more than er_max_pairs, ' ~ max_pairs ~ '. The most, ' ~ pairs
            ~ ', by ' ~ way ~ (', whose largest blocks are ' ~ blocks if blocks else '')
            ~ '. Make it narrower, or raise er_max_pairs.'
        ) %}
    {% endfor %}
{% endmacro %}


{#- Whether dbt's log may show what records hold: not in a project that keeps columns private or masks them. -#}
{% macro _er_logs_values() %}
    {% do return(not (var('er_private_columns', none) or var('er_masked_columns', none))) %}
{% endmacro %}
