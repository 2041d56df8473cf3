"""dbt's own unit tests, on wrapper models of one line a macro."""

from __future__ import annotations

from pathlib import Path

from dbt_harness import macro_project

MODELS = {
    "records": "select 'a' as source, 1 as id, 'f' as fingerprint, 'Ada' as name",
    "scores": (
        "select 'a' as left_source, 1 as left_id, 'b' as right_source, 1 as right_id, 0.5::double as probability, "
        "0.5::double as choice_probability, 'v1' as student"
    ),
    "candidates": (
        "select 'a' as left_source, 1 as left_id, 'b' as right_source, 1 as right_id, 0.5::double as similarity"
    ),
    "wrapped_blocking": (
        "{{ distiller_udf.er_blocking_records("
        "ref('records'), sources=['a', 'b'], blocking={'sorted': 'lower(name)'}) }}"
    ),
    "wrapped_pairs": "{{ distiller_udf.er_pairs(ref('candidates_of_pairs'), records=ref('records')) }}",
    "candidates_of_pairs": "select *, ['tokens'] as blocked_by from {{ ref('candidates') }}",
    "labels": (
        "select 'a' as left_source, 1 as left_id, 't' as teacher, 'select' as ask, 1 as choice, "
        "null::double[] as probabilities, [{'source': 'b', 'id': 1}, {'source': 'b', 'id': 2}] as options"
    ),
    "wrapped_teacher_agreement": "{{ distiller_udf.er_teacher_agreement(ref('labels')) }}",
    "votes": "select ['t'] as teachers",
    "wrapped_agreement_of_set": "{{ distiller_udf.er_teacher_agreement(ref('labels'), votes=ref('votes')) }}",
    "wrapped_matches": (
        "{{ distiller_udf.er_matches(ref('scores'), records=ref('records'), sources=['a', 'b'], threshold=0.5) }}"
    ),
    "entities": "select 'a' as source, 1 as id, 'a:1' as entity_id",
    "log": (
        "select timestamp '2020-01-01' as changed_at, 'a' as source, '1' as id, null::varchar as from_entity_id, "
        "'a:1' as to_entity_id, 'appeared' as change"
    ),
    "wrapped_changes": "{{ distiller_udf.er_entity_changes(ref('entities'), former=ref('log')) }}",
    "unit_tests.yml": """
unit_tests:
  - name: records_are_numbered_with_their_keys
    model: wrapped_blocking
    given:
      - input: ref('records')
        rows:
          - {source: b, id: 1, name: ADA}
          - {source: b, id: 2, name: ' '}
          - {source: a, id: 2, name: null}
          - {source: a, id: 1, name: Ada}
    expect:
      rows:
        - {n: 1, source_rank: 1, source: a, id: 1, key_1: ada}
        - {n: 2, source_rank: 1, source: a, id: 2, key_1: null}
        - {n: 3, source_rank: 2, source: b, id: 1, key_1: ada}
        - {n: 4, source_rank: 2, source: b, id: 2, key_1: null}

  - name: pairs_carry_both_records
    model: wrapped_pairs
    given:
      - input: ref('candidates_of_pairs')
        rows:
          - {left_source: a, left_id: 1, right_source: b, right_id: 1}
      - input: ref('records')
        rows:
          - {source: a, id: 1, fingerprint: x, name: Ada}
          - {source: b, id: 1, fingerprint: y, name: Eda}
    expect:
      format: sql
      rows: |
        select
            'a' as left_source,
            1 as left_id,
            'b' as right_source,
            1 as right_id,
            null::double as similarity,
            null::varchar[] as blocked_by,
            {'name': 'Ada'} as left_record,
            {'name': 'Eda'} as right_record,
            md5('xy') as pair_fingerprint

  - name: teachers_are_compared_pair_by_pair
    model: wrapped_teacher_agreement
    given:
      - input: ref('labels')
        format: sql
        rows: |
          select
              'a' as left_source,
              left_id,
              teacher,
              'select' as ask,
              choice,
              null::double[] as probabilities,
              [{'source': 'b', 'id': 1}, {'source': 'b', 'id': 2}] as options
          from (values (1, 'x', 1), (1, 'y', 1), (2, 'x', 0), (2, 'y', 2), (3, 'x', 1), (3, 'y', null))
              as t(left_id, teacher, choice)
    expect:
      rows:
        - {teacher_a: x, teacher_b: y, pairs: 4, agreement: 0.75, kappa: 0.5}

  - name: teachers_that_are_not_set_are_left_out
    model: wrapped_agreement_of_set
    given:
      - input: ref('votes')
        format: sql
        rows: select ['x'] as teachers union all select ['x', 'z'] union all select [] union all select null
      - input: ref('labels')
        format: sql
        rows: |
          select
              'a' as left_source,
              1 as left_id,
              unnest(['x', 'y', 'z']) as teacher,
              'select' as ask,
              1 as choice,
              null::double[] as probabilities,
              [{'source': 'b', 'id': 1}, {'source': 'b', 'id': 2}] as options
    expect:
      rows:
        - {teacher_a: x, teacher_b: z, pairs: 2, agreement: 1.0, kappa: 1.0}

  - name: a_record_matches_once
    model: wrapped_matches
    given:
      - input: ref('records')
        rows: [{source: a, id: 1}, {source: b, id: 1}, {source: b, id: 2}]
      - input: ref('scores')
        rows:
          - {left_source: a, left_id: 1, right_source: b, right_id: 1, probability: 0.8, choice_probability: 0.8}
          - {left_source: a, left_id: 1, right_source: b, right_id: 2, probability: 0.9, choice_probability: 0.9}
    expect:
      rows:
        - {left_source: a, left_id: 1, right_source: b, right_id: 2, decided_by: student}

  - name: changes_since_the_log
    model: wrapped_changes
    given:
      - input: ref('entities')
        rows:
          - {source: a, id: 1, entity_id: 'a:1'}
          - {source: a, id: 2, entity_id: 'a:1'}
          - {source: a, id: 3, entity_id: 'a:1'}
          - {source: a, id: 5, entity_id: 'a:5'}
      - input: ref('log')
        rows:
          - {changed_at: 2020-01-01, source: a, id: 1, to_entity_id: 'a:1'}
          - {changed_at: 2020-01-01, source: a, id: 2, to_entity_id: 'a:9'}
          - {changed_at: 2020-01-02, source: a, id: 2, to_entity_id: 'a:2'}
          - {changed_at: 2020-01-01, source: a, id: 4, to_entity_id: 'a:4'}
    expect:
      rows:
        - {source: a, id: 2, from_entity_id: 'a:2', to_entity_id: 'a:1', change: merged}
        - {source: a, id: 3, from_entity_id: null, to_entity_id: 'a:1', change: joined}
        - {source: a, id: 4, from_entity_id: 'a:4', to_entity_id: null, change: vanished}
        - {source: a, id: 5, from_entity_id: null, to_entity_id: 'a:5', change: appeared}
""",
}


def test_dbt_unit_tests_pass(tmp_path: Path) -> None:
    made = macro_project(tmp_path, models=MODELS)
    results = made.run("build").results
    assert sum(result.node.resource_type == "unit_test" for result in results) == 6
