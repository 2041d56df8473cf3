{#-
    Log what this run found, in five lines, or which step failed; the on-run-end hook. It says nothing of what was not built
    in this run, shows no value of a record, and counts rows alone. `results` are those of dbt.
-#}
{% macro _er_summary(results) %}
    {% if execute and var('er_summary', true) and not flags.EMPTY %}
        {% set made = {} %}
        {% for result in results if result.node.resource_type == 'model' and result.status == 'success' %}
            {% do made.update({result.node.name: result.node}) if result.node.name.startswith('er_') %}
        {% endfor %}
        {% set failure = distiller_udf._er_failure(results) %}
        {% set lines = [('Failed', failure)] if failure else distiller_udf._er_found(made) %}
        {% for title, line in lines if line %}
            {% do log('%-8s %s' % (title, line), info=true) %}
        {% endfor %}
    {% endif %}
{% endmacro %}


{#- Which step failed that is this package's, or that kept one of its from being made, and what to do; none where all is well. -#}
{% macro _er_failure(results) %}
    {% set failed, skipped = [], [] %}
    {% for result in results %}
        {% set node = result.node %}
        {#- A test hangs on a model, unless it is a query of its own. #}
        {% set tested = node.attached_node if node.attached_node is defined and node.attached_node else '' %}
        {% set ours = 'distiller_udf' in (tested.split('.')[1:2] or [node.package_name]) %}
        {% if result.status == 'skipped' and ours and node.resource_type == 'model' %}
            {% do skipped.append(node.name) %}
        {% elif result.status in ('error', 'fail', 'runtime error', 'partial success') %}
            {% do failed.append((ours, node, tested.split('.')[-1])) %}
        {% endif %}
    {% endfor %}
    {% for ours, node, tested in (failed | selectattr(0) | list or failed) if ours or skipped %}
        {% set later = distiller_udf._er_counted(skipped | length, 'later step was', 'later steps were') ~ ' not made' %}
        {% set model = tested or (node.name if node.resource_type != 'test') %}
        {% do return(
            node.resource_type ~ ' ' ~ node.name ~ (' of ' ~ tested if tested else '') ~ ('; ' ~ later if skipped else '')
            ~ '. The message is above; when its cause is mended, `'
            ~ ('dbt build --select ' ~ model ~ '+' if model else 'dbt retry') ~ '` goes on from there, `dbt build` begins anew.'
        ) %}
    {% endfor %}
    {% do return(none) %}
{% endmacro %}


{#- The lines of a run that went well, each with its title; a line about nothing that was made is empty. -#}
{% macro _er_found(made) %}
    {% set found = {} %}
    {% for name, columns, select in [
        ('er_records', ['source'], 'source, count(*) from {} group by source order by source'),
        ('er_candidates', [], 'count(*) from {}'),
        ('er_labels', ['left_source', 'left_id', 'teacher', 'seed', 'choice', 'cost_usd'], "
            teacher, seed is null as is_brought, count(*), count(*) - count(choice), coalesce(sum(cost_usd), 0),
            count(*) - count(cost_usd), (select count(distinct (left_source, left_id)) from {0})
            from {0} group by all order by all"),
        ('er_matches', ['decided_by'], "count(*), count(*) filter (decided_by = 'must_link') from {}"),
        ('er_entities', ['entity_id', 'entity_size'], '
            count(distinct entity_id), count(distinct entity_id) filter (entity_size > 1), max(entity_size) from {}'),
        ('er_student', ['is_current', 'metrics', 'teachers'], "metrics, array_to_string(teachers, ', ') from {} where is_current"),
        ('er_metrics', ['metric', 'value'], 'metric, value from {} where value is not null'),
    ] if name in made and distiller_udf._er_has(made[name], columns) %}
        {% set rows = [] %}
        {% for row in run_query('select ' ~ select.format(made[name].relation_name)) %}
            {% do rows.append(row.values() | list) %}
        {% endfor %}
        {% do found.update({name: rows}) %}
    {% endfor %}
    {% do return([
        ('Records', distiller_udf._er_records_said(found)),
        ('Labels', distiller_udf._er_labels_said(found)),
        ('Matches', distiller_udf._er_matches_said(found)),
        ('Expect', distiller_udf._er_expected_said(found)),
        ('Next', distiller_udf._er_next_said(found, made)),
    ]) %}
{% endmacro %}


{#- Whether a model that was made is a table there, with these columns; a project may have one of its own. -#}
{% macro _er_has(node, columns) %}
    {% set there = adapter.get_relation(node.database, node.schema, node.alias) %}
    {% set names = adapter.get_columns_in_relation(there) | map(attribute='name') | list if there else [] %}
    {% do return(names and columns | reject('in', names) | list | length == 0) %}
{% endmacro %}


{% macro _er_records_said(found) %}
    {% set parts = [] %}
    {% if 'er_records' in found %}
        {% set by_source = [] %}
        {% for source, records in found['er_records'] %}
            {% do by_source.append('{:,} of {}'.format(records | int, source)) %}
        {% endfor %}
        {% set all = found['er_records'] | map(attribute=1) | sum | int %}
        {% do parts.append('{:,}'.format(all) ~ (' (' ~ (by_source | join(', ')) ~ ')' if by_source else '')) %}
    {% endif %}
    {% if 'er_candidates' in found %}
        {% do parts.append(distiller_udf._er_counted(found['er_candidates'][0][0] | int, 'candidate pair')) %}
    {% endif %}
    {% do return(parts | join(', ')) %}
{% endmacro %}


{#- Whose answers there are, and what they cost in all: what the store knows is paid once. -#}
{% macro _er_labels_said(found) %}
    {% set parts, asked = [], namespace(records=none) %}
    {% for teacher, is_brought, answers, abstained, usd, unknown, records in found.get('er_labels', []) %}
        {% set price = 'imported' if is_brought else 'free' if not usd and not unknown else [
            '${:,.4f}'.format(usd | float) if usd or not unknown else none,
            distiller_udf._er_counted(unknown | int, 'answer') ~ ' of unknown price' if unknown else none
        ] | select | join(' and ') %}
        {% set silent = ', ' ~ distiller_udf._er_counted(abstained | int, 'abstention') if abstained else '' %}
        {% do parts.append(
            distiller_udf._er_counted(answers | int, 'answer') ~ ' by ' ~ teacher ~ ' (' ~ price ~ silent ~ ')'
        ) %}
        {% set asked.records = records | int %}
    {% endfor %}
    {% if 'er_labels' in found and not parts %}
        {% do return('no record has an answer') %}
    {% endif %}
    {% do return((parts | join(', ')) ~ ' about ' ~ distiller_udf._er_counted(asked.records, 'record') if parts else none) %}
{% endmacro %}


{% macro _er_matches_said(found) %}
    {% set parts = [] %}
    {% for matches, must_links in found.get('er_matches', []) %}
        {% set of_them = ' ({:,} by er_must_links)'.format(must_links | int) if must_links else '' %}
        {% do parts.append('{:,}'.format(matches | int) ~ of_them) %}
    {% endfor %}
    {% for entities, of_several, largest in found.get('er_entities', []) %}
        {% set several = ', {:,} of them with several records (the largest with {:,})'.format(of_several | int, largest | int) if of_several else '' %}
        {% do parts.append(distiller_udf._er_counted(entities | int, 'entity', 'entities') ~ several) %}
    {% endfor %}
    {% do return(parts | join('; ')) %}
{% endmacro %}


{#- What the matches are worth, by known matches and by the answers that the student was judged by. -#}
{% macro _er_expected_said(found) %}
    {% set parts = [] %}
    {% set measured = dict(found.get('er_metrics', [])) %}
    {% if 'precision' in measured and 'recall' in measured %}
        {% do parts.append('precision {:.3f} and recall {:.3f} by the {} of er_gold'.format(
            measured['precision'], measured['recall'],
            distiller_udf._er_counted(measured['gold_pairs'] | int, 'known match', 'known matches')
        )) %}
    {% endif %}
    {% for metrics, teachers in found.get('er_student', []) %}
        {% set known = fromjson(metrics or '{}', {}) %}
        {% set figures = [] %}
        {% for name in ('precision', 'recall') if known.get('choice_' ~ name) is not none %}
            {% set low, high = known.get('choice_' ~ name ~ '_low'), known.get('choice_' ~ name ~ '_high') %}
            {% do figures.append(
                '{} {:.3f}'.format(name, known['choice_' ~ name])
                ~ (' ({:.3f} to {:.3f})'.format(low, high) if low is not none and high is not none else '')
            ) %}
        {% endfor %}
        {% if figures %}
            {% set tuples = known.get('judged_tuples', known.get('labelled_tuples')) %}
            {% set on = ' on ' ~ distiller_udf._er_counted(tuples | int, 'record') if tuples else '' %}
            {% do parts.append(
                (figures | join(' and ')) ~ ' among the candidates, by the word of ' ~ (teachers or 'its labels') ~ on
            ) %}
        {% endif %}
    {% endfor %}
    {% do return(parts | join('; ')) %}
{% endmacro %}


{% macro _er_next_said(found, made) %}
    {% set teachers = found.get('er_labels', []) | map(attribute=0) | unique | list %}
    {% if 'er_candidates' in found and not found['er_candidates'][0][0] %}
        {% do return('no pair is a candidate: look at er_blocking_warnings, and set er_blocking.') %}
    {% elif 'er_candidates' in found and 'er_labels' not in made and 'er_matches' not in made %}
        {% do return('`distiller ask --dry-run` says what asking the teacher will cost; `dbt build` asks and goes on.') %}
    {% elif 'er_matches' not in found %}
        {% do return('`dbt build` makes the rest.' if found else none) %}
    {% elif not found['er_matches'][0][0] %}
        {% do return('no pair is a match: see why in `select * from er_decisions order by probability desc limit 20`.') %}
    {% elif teachers == ['embedded'] %}
        {% do return(
            'embedded goes by similarity alone: ask an LLM (er_teacher_model), or judge pairs yourself (`distiller labels '
            ~ 'import`), first those nearest to the threshold in er_decisions.'
        ) %}
    {% endif %}
    {% do return(
        'look at the pairs nearest to the threshold in er_decisions; `distiller explain LEFT RIGHT` says why, '
        ~ '`distiller labels import` corrects.'
    ) %}
{% endmacro %}
