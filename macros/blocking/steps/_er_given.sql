{#- Raise unless er_candidates is given all that it needs: an argument's relations, by the kinds of terms or neighbours. -#}
{% macro _er_check_given(argument, given, needed) %}
    {% set missing = needed | reject('in', given) | list %}
    {% if missing %}
        {% set forms = [] %}
        {% for kind in missing %}
            {% do forms.append(kind ~ ', in the form of er_' ~ ('' if argument == 'terms' else 'neighbours_by_') ~ kind ~ ',') %}
        {% endfor %}
        {% do distiller_udf._er_raise(
            'er_candidates needs the ' ~ argument ~ ' ' ~ (missing | join(' and ')) ~ ': add ' ~ (forms | join(' and '))
            ~ ' to the mapping ' ~ argument ~ '.'
        ) %}
    {% endif %}
{% endmacro %}


{#-
    Steps that stop the run where something was made of other records than `numbered`.

    Neighbours name their records: number, source and id have to be the same on both sides. Terms have numbers alone, and
    a record without words has none: all they can tell is that a number is beyond the last record's. So where there are
    neighbours by the same terms, these are looked at too, whether a way asks for them or not. That a record says
    something else since then is not seen.
-#}
{% macro _er_strangers(neighbours, nearest, terms) -%}
{%- set advice = ' was made of other records than er_blocking_records; run `dbt build --select er_records+,+er_candidates`' -%}
{% for kind in (nearest + terms) | unique if kind in neighbours -%}
-- er_step: strangers_by_{{ kind }}
select error({{ distiller_udf._er_literal('er_candidates: er_neighbours_by_' ~ kind ~ advice) }})
from numbered
full join (select n, source, cast(id as varchar) as id from {{ neighbours[kind] }}) as known
    on numbered.n = known.n and numbered.source = known.source and cast(numbered.id as varchar) = known.id
where numbered.n is null or known.n is null

{% endfor -%}
{% for kind in terms -%}
-- er_step: strangers_in_{{ kind }}
select error({{ distiller_udf._er_literal('er_candidates: er_' ~ kind ~ advice) }})
from (select max(n) as n from {{ kind }}) as last
where last.n > (select count(*) from numbered)

{% endfor -%}
{%- endmacro %}
