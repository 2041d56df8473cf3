{#- A data test: the columns together identify a row, and none of them is NULL. -#}
{% test er_unique_key(model, columns) %}
{% set key = [] %}
{% for column in columns %}
    {% do key.append(distiller_udf._er_quote(column)) %}
{% endfor %}

select {{ key | join(', ') }}, count(*) as times
from {{ model }}
group by {{ key | join(', ') }}
having count(*) > 1 or {{ key | join(' is null or ') }} is null
{% endtest %}
