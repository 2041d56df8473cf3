{#-
    ref() of a model that a variable names: one of the root project, or package.model; none where it names none. The
    package is always named, for dbt warns where a package refers to a model of the root project without saying so.
-#}
{% macro _er_ref(name) %}
    {% set parts = (name or '').split('.') %}
    {% do return(none if not name else ref(parts[0], parts[1]) if (parts | length) == 2 else ref(project_name, name)) %}
{% endmacro %}
