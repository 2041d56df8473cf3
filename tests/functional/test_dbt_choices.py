"""`er_choices` as a model of dbt, on scores that are made by hand; tests/unit/test_er_choices.py has what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from dbt_harness import FROM_TEACHERS, Project

from distiller_udf.students.base import StudentInfo

Row = tuple[object, object, float | None, float | None]

TWO = [{"name": name, "model": "people", "id": "nr"} for name in "ab"]

# a1 and a2 both want b1; a3 and b3 are alone; of b4's two rivals one is an empty record.
SCORES: list[Row] = [
    (1, 1, 0.8, 0.8),
    (2, 1, 0.8, 0.75),
    (2, 2, 0.5, 0.2),
    (3, 3, 0.6, 0.6),
    (4, 4, 0.9, 0.9),
    (5, 4, None, None),
]


def scores(rows: Sequence[Row], cast: str = "{}") -> str:
    """Scored pairs; `cast` makes an id of a number."""
    values = ", ".join(f"({a}, {b}, {p}, {c})" for a, b, p, c in rows or [(0, 0, 0, 0)]).replace("None", "null")
    return f"""
        select
            'a' as left_source, {cast.format("a")} as left_id, 'b' as right_source,
            {cast.format("b")} as right_id, p::double as probability, c::double as choice_probability,
            'v1' as student, 'f' as pair_fingerprint
        from (values {values}) as t(a, b, p, c) where {bool(rows)}
    """


def student(folder: Path) -> str:
    """`er_student` as a table of one version, whose manifest is all that choices read."""
    folder.mkdir(parents=True)
    choice = {"linked": {"sharpness": 1.0, "offset": 0.0}, "alone": {"sharpness": 1.0, "offset": 0.0}}
    StudentInfo("lexical", "v1", ("name",), ("name",), 0.5, 0.5, choice=choice).write(folder)
    return f"select 'v1' as student, true as is_current, 0.5 as threshold, 0.5 as choice_threshold, '{folder}' as path"


# Records of different ids differ, unless a test says otherwise.
RECORDS = """
    select distinct left_source as source, left_id as id, concat('l', left_id) as fingerprint from {{ ref('scored') }}
    union all
    select distinct right_source, right_id, concat('r', right_id) from {{ ref('scored') }}
"""


def project(folder: Path) -> Project:
    """A project of which only `er_choices` is the package's own; what it reads is written here."""
    own = {*FROM_TEACHERS, "er_candidates", "er_records"} - {"er_choices"}
    return Project(
        folder,
        models={
            "people": "select 1 as nr, 'Ada' as name",
            "er_student": student(folder / "student"),
            "scored": scores(SCORES),
            "er_scores": "{{ config(materialized='table') }} select * from {{ ref('scored') }}",
            "er_records": RECORDS,
            # A hook of the package deletes the scores of pairs that are no candidates.
            "er_candidates": "select * from {{ ref('scored') }}",
        },
        variables={"er_sources": TWO},
        config={"models": {"distiller_udf": {name: {"+enabled": False} for name in own}}},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project(tmp_path_factory.mktemp("choices"))


BUILD = ("run", "--select", "scored", "er_candidates", "er_records", "er_student", "er_scores", "er_choices")


def build(made: Project, rows: Sequence[Row] = SCORES, **variables: object) -> None:
    made._write("models/scored.sql", scores(rows))
    made.run(*BUILD, variables=variables)


def test_every_scored_pair_has_its_row(made: Project) -> None:
    build(made)
    keys = "left_source, left_id, right_source, right_id, probability, student"
    found = made.query(f"select {keys} from er_choices order by all")
    assert found == made.query(f"select {keys} from er_scores order by all")
    assert len(found) == len(SCORES)


def test_no_scores_are_no_choices_and_need_no_student(made: Project) -> None:
    build(made, [])
    assert made.query("select count(*) from er_choices") == [(0,)]
    types = "select column_name, data_type from information_schema.columns where table_name = '{}' order by all"
    scored = [row for row in made.query(types.format("er_scores")) if row[0] != "pair_fingerprint"]
    assert made.query(types.format("er_choices")) == scored


def test_ids_keep_their_type(made: Project) -> None:
    made._write("models/scored.sql", scores(SCORES, "md5({}::varchar)::uuid"))
    made.run(*BUILD)
    keys = "left_id, right_id, typeof(left_id), typeof(right_id)"
    assert made.query(f"select {keys} from er_choices order by all") == made.query(
        f"select {keys} from er_scores order by all"
    )
    # The probabilities stay with their pairs, whatever order the ids are in.
    assert made.query("select count(*) from er_choices where probability in (0.6, 0.9)") == [(2,)]
    assert made.query("select max(abs(choice_probability - probability)) from er_choices where probability > 0.85") == [
        (pytest.approx(0),)
    ]


def test_without_a_current_student_the_sentence_says_what_to_run(made: Project) -> None:
    nobody = "select 'v1' as student, false as is_current, '/nowhere' as path"
    kept = (made.folder / "models" / "er_student.sql").read_text()
    made._write("models/er_student.sql", nobody)
    made._write("models/scored.sql", scores(SCORES))
    message = made.error(*BUILD)
    made._write("models/er_student.sql", kept)
    assert "er_student has no current student; run `dbt build --select er_student` first" in message
