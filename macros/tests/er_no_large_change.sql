{#- A data test of er_student_comparisons: the latest student that was promoted changed few of the matched pairs. -#}
{% test er_no_large_change(model, max_share) %}
select compared_at, challenger, current, pairs_gained, pairs_lost, pairs_kept, pairs_changed
from (
    select *
    from {{ model }}
    where promoted
    qualify row_number() over (order by compared_at desc, challenger) = 1
)
where pairs_changed > {{ max_share }}
{% endtest %}
