{#- A data test: the model holds every record, each of them once. -#}
{% test er_same_records(model, records) %}
{% set records = distiller_udf._er_built(records, needed=true) %}
select coalesce(ours.source, theirs.source) as source, coalesce(ours.id, theirs.id) as id
from (select source, id, count(*) as times from {{ model }} group by source, id) as ours
full join {{ records }} as theirs on ours.source = theirs.source and ours.id = theirs.id
where ours.times is null or theirs.source is null or ours.times > 1
{% endtest %}
