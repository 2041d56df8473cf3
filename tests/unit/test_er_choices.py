"""`er_choices` on a real DuckDB: what scored pairs are worth in the light of all others, on scores made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.errors import ConstraintMismatch, StudentNotFound
from distiller_udf.pipeline import choices
from distiller_udf.students.base import StudentInfo

Row = tuple[object, object, float | None, float | None]

# a1 and a2 both want b1; a3 and b3 are alone; of b4's two rivals one is an empty record.
SCORES: list[Row] = [
    (1, 1, 0.8, 0.8),
    (2, 1, 0.8, 0.75),
    (2, 2, 0.5, 0.2),
    (3, 3, 0.6, 0.6),
    (4, 4, 0.9, 0.9),
    (5, 4, None, None),
]
LINKED = {"linked": {"sharpness": 1.0, "offset": 0.0}, "alone": {"sharpness": 1.0, "offset": 0.0}}
KEYS = "left_source, left_id, right_source, right_id, probability, student"


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


def contents(left: str = "concat(left_source, left_id)", right: str = "concat(right_source, right_id)") -> str:
    """The records of both sides with their fingerprints: of different ids they differ, unless a test says otherwise."""
    return f"""
        select distinct left_source as source, left_id as id, {left} as fingerprint from scores
        union
        select distinct right_source, right_id, {right} from scores
    """


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student for each constraint, whose manifest is all that choices read."""
    folder = tmp_path_factory.mktemp("students")
    for constraint in Constraint:
        (folder / constraint).mkdir()
        choice = LINKED if constraint.limits_left else {}
        StudentInfo("lexical", "v1", ("name",), ("name",), 0.5, 0.5, constraint, choice=choice).write(
            folder / constraint
        )
    return folder


class Choices:
    """A connection with the tables that `er_choices` reads, and its rows."""

    def __init__(self, student: Path, **config: Any) -> None:
        self.student = student
        self.session = duckdb.connect(config=config)

    def made(
        self,
        rows: str,
        constraint: Constraint = Constraint.ONE_TO_ONE,
        records: str | None = None,
        wanted: Constraint | None = None,
        path: str | None = None,
    ) -> duckdb.DuckDBPyRelation:
        """The relation of er_choices, by a student of a constraint; `wanted` is the project's, if it is another one."""
        self.session.execute(f"create or replace table scores as {rows}")
        self.session.execute(f"create or replace table records as {records or contents()}")
        folder = path or self.student / constraint
        self.session.execute(f"create or replace table students as select true as is_current, '{folder}' as path")
        tables = [self.session.table(name) for name in ("scores", "records", "students")]
        return choices(self.session, *tables, wanted or constraint)

    def chosen(self, *given: Any, **named: Any) -> dict[tuple[int, int], float]:
        found = self.made(*given, **named).select("left_id, right_id, choice_probability").fetchall()
        return {(left, right): choice for left, right, choice in found}


@pytest.fixture
def er(student: Path) -> Choices:
    return Choices(student)


@pytest.mark.parametrize("constraint", Constraint)
def test_every_scored_pair_has_its_row(er: Choices, constraint: Constraint) -> None:
    found = er.made(scores(SCORES), constraint).select(KEYS).order("all").fetchall()
    assert found == er.session.sql(f"select {KEYS} from scores order by all").fetchall()
    assert len(found) == len(SCORES)


def test_records_that_claim_the_same_record_lower_each_other(er: Choices) -> None:
    """The share of all sets of pairs in which no record occurs twice, each as likely as its odds' product."""
    # Odds of 4 each: none 1, the one 4, the other 4.
    both = er.chosen(scores([(1, 1, 0.8, 0.8), (2, 1, 0.8, 0.8)]))
    assert list(both.values()) == pytest.approx([4 / 9, 4 / 9], abs=1e-6)
    # a2 has another candidate: none 1, a1b1 4, a2b1 4, a2b2 1, a1b1 and a2b2 4.
    expected = {(1, 1): 8 / 14, (2, 1): 4 / 14, (2, 2): 5 / 14, (3, 3): 0.6, (4, 4): 0.9}
    chosen = er.chosen(scores(SCORES))
    assert {pair: chosen[pair] for pair in expected} == pytest.approx(expected, abs=1e-3)


def test_copies_of_a_record_are_one_rival(er: Choices) -> None:
    """a1 has three candidates of the same content, and a2 is a copy of it: nothing tells which of them is meant."""
    rows = scores([(1, 1, 0.8, 0.8), (1, 2, 0.8, 0.8), (1, 3, 0.8, 0.8), (1, 4, 0.5, 0.5)])
    copies = er.chosen(rows, records=contents(right="if(right_id < 4, 'r', 'r4')"))
    assert [copies[1, i] for i in range(1, 5)] == pytest.approx([4 / 6, 4 / 6, 4 / 6, 1 / 6], abs=1e-3)
    twins = er.chosen(scores([(1, 1, 0.8, 0.8), (2, 1, 0.8, 0.8)]), records=contents(left="'l'"))
    assert list(twins.values()) == pytest.approx([0.8, 0.8], abs=1e-3)


@pytest.mark.parametrize("constraint", Constraint)
def test_scores_of_someone_else_stay(er: Choices, constraint: Constraint) -> None:
    others = er.made(f"select * replace ('mine' as student) from ({scores(SCORES)})", constraint)
    assert (
        others.order("all").fetchall()
        == er.session.sql("select * exclude (pair_fingerprint) from scores order by all").fetchall()
    )


@pytest.mark.parametrize("constraint", [Constraint.ONE_TO_ONE, Constraint.NONE])
def test_a_pair_without_a_probability_stays_without_and_is_nobodys_rival(er: Choices, constraint: Constraint) -> None:
    chosen = er.chosen(scores(SCORES), constraint)
    assert chosen[5, 4] is None
    assert chosen[4, 4] == pytest.approx(0.9)


def test_under_many_to_one_scores_have_seen_all_rivals(er: Choices) -> None:
    chosen = er.chosen(scores(SCORES), Constraint.MANY_TO_ONE)
    assert chosen == {(left, right): choice for left, right, _, choice in SCORES}


def test_without_a_constraint_the_records_around_both_have_their_say(er: Choices) -> None:
    """1 – 2 – 3 is a chain whose ends deny each other; 4 – 5 is a pair like any other, and 6 is a copy of 5."""
    rows: list[Row] = [(1, 2, 0.95, 0.95), (2, 3, 0.8, 0.8), (1, 3, 0.01, 0.01), (4, 5, 0.9, 0.9), (4, 6, 0.9, 0.9)]
    records = contents(*(f"concat('r', least({side}_id, 5))" for side in ("left", "right")))
    chosen = er.chosen(scores(rows, sources=("a", "a")), Constraint.NONE, records)
    assert [chosen[pair] for pair in ((1, 2), (4, 5), (4, 6))] == pytest.approx([0.95, 0.9, 0.9])
    assert chosen[2, 3] == chosen[1, 3] < 0.5


@pytest.mark.parametrize("constraint", Constraint)
@pytest.mark.parametrize("wanted", [Constraint.ONE_TO_ONE, Constraint.NONE])
def test_a_student_of_another_constraint_is_refused(er: Choices, constraint: Constraint, wanted: Constraint) -> None:
    if wanted is constraint:
        return
    with pytest.raises(
        ConstraintMismatch, match=rf"v1 was made for the constraint {constraint}, and {wanted} is wanted"
    ):
        er.made(scores(SCORES), constraint, wanted=wanted)


def test_only_records_of_the_same_two_sources_compete(er: Choices) -> None:
    """A record may match one of every other source: a1 and c1 both want b1, and may both have it."""
    rows: list[Row] = [(1, 1, 0.8, 0.8)]
    both = " union all ".join(scores(rows, sources=pair) for pair in (("a", "b"), ("c", "b")))
    found = er.made(both).select("choice_probability").fetchall()
    assert [row[0] for row in found] == pytest.approx([0.8, 0.8], abs=1e-6)


def test_no_scores_are_no_choices_and_need_no_student(er: Choices) -> None:
    assert er.made(scores([]), path="/nowhere").fetchall() == []


@pytest.mark.parametrize("cast", ["{}::bigint", "concat('x', {})", "{}::double", "uuid_of({})", "{}::hugeint"])
def test_ids_keep_their_type(er: Choices, cast: str) -> None:
    er.session.execute("create macro uuid_of(n) as md5(n::varchar)::uuid")
    found = er.made(scores(SCORES, cast))
    assert found.select("left_id, right_id").types == er.session.table("scores").select("left_id, right_id").types
    assert (
        found.select(KEYS).order("all").fetchall()
        == er.session.sql(f"select {KEYS} from scores order by all").fetchall()
    )


def test_choices_are_the_same_where_duckdb_keeps_no_order(student: Path) -> None:
    rows: list[Row] = [(i, i // 2, 0.3 + 0.6 * (i % 7) / 7, 0.5) for i in range(3000)]
    loose = Choices(student, preserve_insertion_order=False, threads=4)
    chosen = loose.chosen(scores(rows))
    odds = {left: p / (1 - p) for left, _, p, _ in rows if p is not None}
    for (left, _), choice in chosen.items():
        rival = odds[left ^ 1]
        assert choice == pytest.approx(odds[left] / (1 + odds[left] + rival), abs=1e-6)


def test_without_a_current_student_the_sentence_says_what_to_run(er: Choices) -> None:
    er.made(scores(SCORES))
    nobody = er.session.table("students").filter("not is_current")
    tables = er.session.table("scores"), er.session.table("records"), nobody
    with pytest.raises(StudentNotFound, match="run `dbt build --select er_student` first"):
        choices(er.session, *tables, Constraint.ONE_TO_ONE)
