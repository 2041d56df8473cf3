{#- Raise unless er_teachers is a list of mappings with names that a teacher's settings have. -#}
{% macro _er_teachers(teachers, name='er_teachers') %}
    {% set allowed = ['teacher', 'name'] %}
    {% for variable in distiller_udf._er_variables() if variable.startswith('er_teacher_') %}
        {% do allowed.append(variable | replace('er_teacher_', '')) %}
    {% endfor %}
    {% set listed = teachers is sequence and teachers is not string and teachers is not mapping %}
    {% if not listed or (teachers | length) == 0 or teachers | reject('mapping') | list %}
        {% do distiller_udf._er_raise(
            name ~ ' is ' ~ (teachers | tojson) ~ '. Allowed: a list of mappings, such as [{model: qwen2.5:32b}].'
        ) %}
    {% endif %}
    {% for teacher in teachers %}
        {% for key in teachers[loop.index0] if key not in allowed %}
            {% do distiller_udf._er_raise(
                name ~ ' has an entry with ' ~ (key | tojson) ~ distiller_udf._er_allowed(key, allowed)
            ) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}


{#- Raise for a teacher that lacks the model it needs: here, and not after all the blocking. -#}
{% macro _er_check_models(settings) %}
    {% if settings['er_student_path'] is not none %}
        {% do return(none) %}
    {% endif %}
    {% if settings['er_student'] == 'llm' and settings['er_training'] == 'build' and settings['er_llm_model'] is none
        and not (settings['er_llm_training'] or {}).get('start') %}
        {% do distiller_udf._er_raise(
            'the student llm needs a base model; set er_llm_model to a folder or the id of a model on the hub, or '
            ~ 'er_training: schedule where it is trained by command.'
        ) %}
    {% endif %}
    {% set kind, model = settings['er_teacher'], settings['er_teacher_model'] %}
    {% for entry in settings['er_teachers'] or [{}] %}
        {% set own = entry.get('model') or model %}
        {% set teacher = entry.get('teacher') or ('openai' if entry.get('model') and kind == 'embedded' else kind) %}
        {% if teacher in ('openai', 'vllm', 'encoder') and own is none %}
            {% do distiller_udf._er_raise(
                'the teacher ' ~ teacher ~ ' needs a model; set er_teacher_model, such as gpt-4.1-mini or qwen2.5:32b.'
            ) %}
        {% elif teacher == 'encoder' and (entry.get('encoder') or settings['er_teacher_encoder']) is none %}
            {% do distiller_udf._er_raise(
                'the teacher encoder needs weights; set er_teacher_encoder to a folder or the id of a model on the hub.'
            ) %}
        {% endif %}
    {% endfor %}
{% endmacro %}
