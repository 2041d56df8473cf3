{#- A data test of er_student_comparisons: the latest challenger was found not worse than the student before it. -#}
{% test er_latest_challenger_promoted(model) %}
select compared_at, challenger, current, reasons
from {{ model }}
qualify row_number() over (order by compared_at desc, challenger) = 1
    and not promoted
{% endtest %}
