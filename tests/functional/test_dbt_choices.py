"""`er_choices` with real dbt: records that compete for a match from both sides, on scores that are made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dbt_harness import FROM_TEACHERS, Project

from distiller_udf.students.base import StudentInfo

Row = tuple[object, object, float | None, float | None]

THREE = [{"name": name, "model": "people", "id": "nr"} for name in "abc"]
TWO, ONE = THREE[:2], THREE[:1]

# a1 and a2 both want b1; a3 and b3 are alone; of b4's two rivals one is an empty record.
SCORES: list[Row] = [
    (1, 1, 0.8, 0.8),
    (2, 1, 0.8, 0.75),
    (2, 2, 0.5, 0.2),
    (3, 3, 0.6, 0.6),
    (4, 4, 0.9, 0.9),
    (5, 4, None, None),
]
PAIRS = "select * exclude (pair_fingerprint) from er_scores order by all"
CHOSEN = "select left_id, right_id, choice_probability from er_choices order by all"


def scores(rows: Sequence[Row], cast: str = "{}", sources: tuple[str, str] = ("a", "b")) -> str:
    """Scored pairs; `cast` makes an id of a number."""
    left, right = sources
    values = ", ".join(f"({a}, {b}, {p}, {c})" for a, b, p, c in rows or [(0, 0, 0, 0)]).replace("None", "null")
    return f"""
        select
            '{left}' as left_source, {cast.format("a")} as left_id, '{right}' as right_source,
            {cast.format("b")} as right_id, p::double as probability, c::double as choice_probability,
            'v1' as student, 'f' as pair_fingerprint
        from (values {values}) as t(a, b, p, c) where {bool(rows)}
    """


def student(folder: Path, choice: dict[str, dict[str, float]]) -> str:
    """`er_student` as a table of one version, whose manifest is all that choices read."""
    folder.mkdir(parents=True)
    StudentInfo("lexical", "v1", ("name",), ("name",), 0.5, 0.5, choice=choice).write(folder)
    return f"select 'v1' as student, true as is_current, 0.5 as threshold, 0.5 as choice_threshold, '{folder}' as path"


# Records of different ids differ, unless a test says otherwise.
RECORDS = """
    select distinct left_source as source, left_id as id, concat('l', left_id) as fingerprint from {{ ref('scored') }}
    union all
    select distinct right_source, right_id, concat('r', right_id) from {{ ref('scored') }}
"""

LINKED = {"linked": {"sharpness": 1.0, "offset": 0.0}, "alone": {"sharpness": 1.0, "offset": 0.0}}


def project(
    folder: Path, rows: Sequence[Row] = SCORES, choice: dict[str, dict[str, float]] = LINKED, **parts: Any
) -> Project:
    """A project of which only `er_choices` is the package's own; what it reads is written here."""
    own = {*FROM_TEACHERS, "er_candidates", "er_records"} - {"er_choices"}
    return Project(
        folder,
        models={
            "people": "select 1 as nr, 'Ada' as name",
            "er_student": student(folder / "student", choice),
            "scored": scores(rows),
            "er_scores": "{{ config(materialized='table') }} select * from {{ ref('scored') }}",
            "er_records": RECORDS,
            # A hook of the package deletes the scores of pairs that are no candidates.
            "er_candidates": "select * from {{ ref('scored') }}",
        },
        variables={"er_sources": TWO},
        config={"models": {"distiller_udf": {name: {"+enabled": False} for name in own}}},
        **parts,
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


def test_records_that_claim_the_same_record_lower_each_other(made: Project) -> None:
    """The share of all sets of pairs in which no record occurs twice, each as likely as its odds' product."""
    build(made, [(1, 1, 0.8, 0.8), (2, 1, 0.8, 0.8)])
    # Odds of 4 each: none 1, the one 4, the other 4.
    assert [row[2] for row in made.query(CHOSEN)] == pytest.approx([4 / 9, 4 / 9], abs=1e-6)
    build(made)
    # a2 has another candidate: none 1, a1b1 4, a2b1 4, a2b2 1, a1b1 and a2b2 4.
    chosen = {(left, right): choice for left, right, choice in made.query(CHOSEN)}
    expected = {(1, 1): 8 / 14, (2, 1): 4 / 14, (2, 2): 5 / 14, (3, 3): 0.6, (4, 4): 0.9}
    assert {pair: chosen[pair] for pair in expected} == pytest.approx(expected, abs=1e-3)


def test_copies_of_a_record_are_one_rival(made: Project) -> None:
    """a1 has three candidates of the same content, and a2 is a copy of it: nothing tells which of them is meant."""
    made._write("models/er_records.sql", RECORDS.replace("concat('r', right_id)", "if(right_id < 4, 'r', 'r4')"))
    build(made, [(1, 1, 0.8, 0.8), (1, 2, 0.8, 0.8), (1, 3, 0.8, 0.8), (1, 4, 0.5, 0.5)])
    assert [row[2] for row in made.query(CHOSEN)] == pytest.approx([4 / 6, 4 / 6, 4 / 6, 1 / 6], abs=1e-3)
    made._write("models/er_records.sql", RECORDS.replace("concat('l', left_id)", "'l'"))
    build(made, [(1, 1, 0.8, 0.8), (2, 1, 0.8, 0.8)])
    assert [row[2] for row in made.query(CHOSEN)] == pytest.approx([0.8, 0.8], abs=1e-3)
    made._write("models/er_records.sql", RECORDS)


def test_scores_of_someone_else_stay(made: Project) -> None:
    made._write(
        "models/er_scores.sql",
        "{{ config(materialized='table') }} select * replace ('mine' as student) from {{ ref('scored') }}",
    )
    build(made)
    assert made.query("select * from er_choices order by all") == made.query(PAIRS)
    made._write("models/er_scores.sql", "{{ config(materialized='table') }} select * from {{ ref('scored') }}")


def test_a_pair_without_a_probability_stays_without_and_is_nobodys_rival(made: Project) -> None:
    build(made)
    assert made.query("select probability, choice_probability from er_choices where left_id = 5") == [(None, None)]
    assert made.query("select choice_probability from er_choices where left_id = 4")[0][0] == pytest.approx(0.9)
    assert made.query("select count(*) from er_choices where isnan(choice_probability)") == [(0,)]


@pytest.mark.parametrize(
    "variables",
    [
        {"er_constraint": "many_to_one"},
        {"er_constraint": "none"},
        {"er_task": "dedupe"},
        {"er_task": "link_and_dedupe"},
        {"er_sources": ONE},
    ],
    ids=str,
)
def test_where_records_do_not_compete_from_both_sides_the_scores_stay(made: Project, variables: dict[str, Any]) -> None:
    build(made, **variables)
    assert made.query("select * from er_choices order by all") == made.query(PAIRS)


@pytest.mark.parametrize(
    "variables",
    [{"er_constraint": "one_to_one"}, {"er_task": "link"}, {"er_sources": THREE}],
    ids=["constraint", "task", "three sources"],
)
def test_one_to_one_is_asked_for_or_comes_from_the_task(made: Project, variables: dict[str, Any]) -> None:
    build(made, **variables)
    assert made.query("select * from er_choices order by all") != made.query(PAIRS)


def test_only_records_of_the_same_two_sources_compete(made: Project) -> None:
    """A record may match one of every other source: a1 and c1 both want b1, and may both have it."""
    rows: list[Row] = [(1, 1, 0.8, 0.8)]
    both = [scores(rows, sources=("a", "b")), scores(rows, sources=("c", "b"))]
    made._write("models/scored.sql", " union all ".join(both))
    made.run(*BUILD)
    assert [row[2] for row in made.query(CHOSEN)] == pytest.approx([0.8, 0.8])


def test_no_scores_are_no_choices_and_need_no_student(made: Project) -> None:
    build(made, [])
    assert made.query("select count(*) from er_choices") == [(0,)]
    types = "select column_name, data_type from information_schema.columns where table_name = '{}' order by all"
    scored = [row for row in made.query(types.format("er_scores")) if row[0] != "pair_fingerprint"]
    assert made.query(types.format("er_choices")) == scored


@pytest.mark.parametrize(
    "cast", ["md5({}::varchar)::uuid", "{}::hugeint", "'it''s ' || {}"], ids=["uuid", "huge", "text"]
)
def test_ids_keep_their_type(made: Project, cast: str) -> None:
    made._write("models/scored.sql", scores(SCORES, cast))
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


def test_choices_are_the_same_where_duckdb_keeps_no_order(tmp_path: Path) -> None:
    rows: list[Row] = [(i, i // 2, 0.3 + 0.6 * (i % 7) / 7, 0.5) for i in range(3000)]
    loose = project(tmp_path, rows, output={"settings": {"preserve_insertion_order": False, "threads": 4}})
    loose.run(*BUILD)
    first, second = (f"(s.probability / (1 - s.probability)) as {name}" for name in ("mine", "rivals"))
    wrong = loose.query(f"""
        with odds as (select left_id, right_id, {first} from er_scores as s),
        rivals as (select left_id, right_id, {second} from er_scores as s)
        select count(*) from er_choices as c
        inner join odds using (left_id, right_id)
        inner join rivals as r on r.right_id = c.right_id and r.left_id != c.left_id
        where abs(c.choice_probability - mine / (1 + mine + r.rivals)) > 1e-6
    """)
    assert wrong == [(0,)]


def test_without_a_current_student_the_sentence_says_what_to_run(made: Project) -> None:
    nobody = "select 'v1' as student, false as is_current, '/nowhere' as path"
    kept = (made.folder / "models" / "er_student.sql").read_text()
    made._write("models/er_student.sql", nobody)
    made._write("models/scored.sql", scores(SCORES))
    message = made.error(*BUILD)
    made._write("models/er_student.sql", kept)
    assert "er_student has no current student; run `dbt build --select er_student` first" in message


def test_a_student_of_several_matches_leaves_the_pairs_alone(tmp_path: Path) -> None:
    """er_student_path may name a student that was trained without competition."""
    several = project(tmp_path, choice={})
    build(several)
    assert several.query("select choice_probability from er_choices order by left_id, right_id") == several.query(
        "select probability from er_scores order by left_id, right_id"
    )
