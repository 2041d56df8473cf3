{#- The ways of the settings, without intersections: what these are made of instead. -#}
{% macro _er_leaves_of(settings) %}
    {% do return(distiller_udf._er_leaves(distiller_udf._er_ways(
        settings['er_blocking'], settings['er_blocking_rules'], settings['er_blocking_top_k'], settings['er_blocking_mode'],
        settings['er_blocking_max_block']
    ))) %}
{% endmacro %}


{#- How many neighbours of a kind the settings ask for at most, 0 where they ask for none. -#}
{% macro _er_wanted_neighbours(settings, kind) %}
    {% set ways = distiller_udf._er_leaves_of(settings) %}
    {% do return(([0] + (ways | selectattr('kind', 'equalto', kind) | map(attribute='top_k') | list)) | max) %}
{% endmacro %}


{#- Whether the settings need the records' tokens or q-grams: to find pairs, or to compare them. -#}
{% macro _er_terms_are_needed(settings, terms) %}
    {% set read = distiller_udf._er_terms_of(distiller_udf._er_leaves_of(settings), settings['er_blocking_similarity']) %}
    {% do return(terms in read or distiller_udf._er_wanted_neighbours(settings, terms) > 0) %}
{% endmacro %}
