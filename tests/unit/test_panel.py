"""A panel of teachers: in several orders, pair by pair, with reasons, within a budget, seeing only what they may."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest
from exact_teacher import Exact, Looking, tuples_of

from distiller_udf.budget import Budget, Cost, Limits
from distiller_udf.errors import BudgetSpent, SettingsError, TeacherError
from distiller_udf.labels import LabelStore, Progress, Run, erasure
from distiller_udf.privacy import Privacy
from distiller_udf.prompts import Answer, Asking, Question

ROWS = tuples_of(
    [(i, f"n{i}", [(100 + i, f"n{i}" if i % 2 else "x"), (200 + i, "y"), (300 + i, "z")]) for i in range(10)]
)


class First(Exact):
    """Always takes the first candidate."""

    def reply(self, question: Question) -> Answer:
        return Answer(1, 0.99, cost_usd=0.0)


@dataclass
class Apprentice(Exact):
    """Learns from a base how often a candidate is chosen, and answers the rest itself."""

    base: Exact = field(default_factory=Exact)
    share: float = 0.2
    learned: list[tuple[Question, Answer]] = field(default_factory=list)

    def learn(self, answered: Sequence[tuple[Question, Answer]]) -> None:
        self.learned = list(answered)
        self.parameters = {"learned": sorted(f"{q.query}{a.choice}" for q, a in answered)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LabelStore]:
    with LabelStore(tmp_path / "labels.sqlite") as opened:
        yield opened


def test_every_teacher_has_its_rows(store: LabelStore) -> None:
    table = Run([Exact(), First(name="first")], store).label(ROWS)
    assert table["teacher"].to_pylist() == ["exact"] * 10 + ["first"] * 10
    assert table["choice"].to_pylist() == [0, 1] * 5 + [1] * 10
    assert len(set(table["label_key"].to_pylist())) == 20


def test_several_orders_are_stored_one_by_one_and_given_as_one_row(store: LabelStore) -> None:
    teacher = Exact(asking=Asking(orders=3, seed=7))
    table = Run([teacher], store).label(ROWS)
    assert len(teacher.asked) == store.export().num_rows == 30
    assert table["choice"].to_pylist() == [0, 1] * 5
    assert set(table["orders"].to_pylist()) == {3}
    assert set(table["seed"].to_pylist()) == {7}
    # One order more costs one question more.
    more = Exact(asking=Asking(orders=2, seed=7))
    Run([more], store).label(ROWS)
    assert more.asked == []


def test_who_likes_a_place_more_than_a_record_abstains(store: LabelStore) -> None:
    table = Run([First(asking=Asking(orders=3))], store).label(ROWS)
    assert table["choice"].to_pylist() == [None] * 10
    assert table["choice"].null_count == len([error for error in table["error"].to_pylist() if "disagree" in error])


def test_pairs_asked_one_by_one_find_several_matches(store: LabelStore) -> None:
    rows = tuples_of([(1, "a", [(10, "a"), (11, "b"), (12, "a")])])
    table = Run([Exact(asking=Asking(ask="match"))], store).label(rows)
    row = table.to_pylist()[0]
    assert (row["ask"], row["choice"], row["probabilities"]) == ("match", 1, [0.9, 0.0, 0.9])


def test_reasons_are_asked_for_afterwards_and_added_to_the_bill(store: LabelStore) -> None:
    seen: list[Progress] = []
    teacher = Exact(asking=Asking(justify=True))
    table = Run([teacher], store).label(ROWS.slice(0, 2), progress=seen.append)
    assert table["explanation"].to_pylist() == ["because of 0", "because of 1"]
    assert table["cost_usd"].to_pylist() == [0.75, None]
    assert [question.ask for question in teacher.asked] == ["select", "select", "justify", "justify"]
    assert {progress.teacher for progress in seen} == {"exact", "exact, reasons"}
    again = Exact(asking=Asking(justify=True))
    assert Run([again], store).label(ROWS.slice(0, 2)).equals(table)
    assert again.asked == []


def test_reasons_are_asked_of_every_candidate(store: LabelStore) -> None:
    rows = tuples_of([(1, "a", [(10, "x"), (11, "a")]), (2, "b", [(12, "x")]), (3, "odd", [(13, "x")])])
    teacher = Exact(asking=Asking(justify_each=True))
    table = Run([teacher], store).label(rows)
    assert table["explanations"].to_pylist() == [["because of 0", "because of 1"], ["because of 0"], None]
    assert table["explanation"].to_pylist() == [None, None, None]
    why = [(q.candidates, q.chosen) for q in teacher.asked if q.ask == "justify"]
    assert why == [(('{"name":"x"}',), 0), (('{"name":"a"}',), 1), (('{"name":"x"}',), 0)]
    both = Exact(asking=Asking(justify=True, justify_each=True))
    table = Run([both], store).label(rows)
    assert table["explanation"].to_pylist() == ["because of 2", "because of 0", None]
    assert table["explanations"].to_pylist() == [["because of 0", "because of 1"], ["because of 0"], None]
    assert len([q for q in both.asked if q.ask == "justify"]) == 1  # a lone candidate's reason is known


def test_the_budget_stops_the_run_cleanly_and_the_next_one_goes_on(store: LabelStore) -> None:
    seen: list[Progress] = []
    budget = Budget(Limits(calls=4))
    table = Run([Exact()], store, budget=budget).label(ROWS, progress=seen.append)
    assert table.num_rows == store.export().num_rows == budget.spent.calls == 4
    assert seen[-1].stopped is not None
    assert seen[-1].stopped.startswith("the budget of 4 calls is spent")
    assert (seen[-1].answered, seen[-1].failed, seen[-1].to_come) == (4, 0, 6)
    again = Exact()
    whole = Run([again], store).label(ROWS)
    assert (whole.num_rows, len(again.asked)) == (10, 6)
    # A run in which all is known needs no budget.
    assert Run([Exact()], store, budget=Budget(Limits(calls=0))).label(ROWS).equals(whole)


def test_all_teachers_of_a_run_share_its_budget(store: LabelStore) -> None:
    budget = Budget(Limits(calls=14))
    table = Run([Exact(), Exact(name="second")], store, budget=budget).label(ROWS)
    assert table["teacher"].to_pylist() == ["exact"] * 10 + ["second"] * 4


def test_an_estimate_asks_nothing_and_counts_what_is_open(store: LabelStore) -> None:
    Run([Exact()], store).label(ROWS.slice(0, 3))
    teacher, unpriced = Exact(asking=Asking(orders=2)), Exact(name="unpriced", price=None)
    first, second = Run([teacher, unpriced], store).estimate(ROWS)
    assert teacher.asked == unpriced.asked == []
    assert (first.tuples, first.questions, first.cached, first.asked) == (10, 20, 3, 17)
    assert first.cost == Cost(17, 170, 85, pytest.approx(0.17))
    assert second.cost.usd is None
    assert "an unknown price" in str(second)
    assert "17 to ask: about 170 tokens in, 85 out, $0.17" in str(first)
    (reasons,) = Run([Exact(asking=Asking(justify=True))], store).estimate(ROWS)
    assert (reasons.questions, reasons.cached, reasons.asked, reasons.cost.calls) == (20, 3, 17, 17)


def test_an_estimate_knows_which_reasons_are_there(store: LabelStore) -> None:
    justify = Asking(justify=True)
    Run([Exact()], store).label(ROWS)
    (all_open,) = Run([Exact(asking=justify)], store).estimate(ROWS)
    assert (all_open.asked, all_open.cost.calls) == (10, 10)
    Run([Exact(asking=justify)], store).label(ROWS.slice(0, 4))
    (some,) = Run([Exact(asking=justify)], store).estimate(ROWS)
    assert (some.asked, some.cached) == (6, 14)
    teacher = Exact(asking=justify)
    Run([teacher], store).label(ROWS)
    assert len(teacher.asked) == 6


def test_a_learner_answers_what_its_base_was_not_asked(store: LabelStore) -> None:
    teacher = Apprentice(name="apprentice of exact", share=0.3)
    table = Run([teacher], store).label(ROWS)
    assert table["left_id"].to_pylist() == list(range(10))
    assert table["teacher"].to_pylist().count("exact") == len(teacher.base.asked) == len(teacher.learned) == 3
    assert table["teacher"].to_pylist().count("apprentice of exact") == len(teacher.asked) == 7
    taught = {question.query for question, _ in teacher.learned}
    assert not taught & {question.query for question in teacher.asked}
    again = Apprentice(name="apprentice of exact", share=0.3)
    assert Run([again], store).label(ROWS).equals(table)
    assert again.asked == again.base.asked == []
    base, itself = Run([Apprentice(name="other", share=0.3)], store).estimate(ROWS)
    assert (base.teacher, base.asked, itself.asked, itself.cost) == ("exact", 0, 7, Cost())


def test_a_learner_whose_base_could_not_answer_waits(store: LabelStore) -> None:
    teacher = Apprentice(share=0.3, name="apprentice")
    table = Run([teacher], store, budget=Budget(Limits(calls=2))).label(ROWS)
    assert table["teacher"].to_pylist() == ["exact"] * 2
    assert teacher.asked == teacher.learned == []
    seen: list[Progress] = []
    Run([teacher], store, budget=Budget(Limits(calls=0))).label(ROWS, progress=seen.append)
    assert (seen[-1].teacher, seen[-1].failed) == ("apprentice", 7)


def test_nobody_outside_sees_what_is_private(store: LabelStore) -> None:
    rows = pa.Table.from_pylist([_with_prices(row) for row in ROWS.to_pylist()], schema=ROWS.schema)
    remote, local = Exact(), Exact(name="local", local=True)
    privacy = Privacy(private=("PRICE",), masked=("name",), secret=b"k" * 32)
    table = Run([remote, local], store, privacy=privacy).label(rows)
    shown = [json.loads(text) for q in remote.asked for text in (q.query, *q.candidates)]
    assert {name for record in shown for name in record} == {"name"}
    assert all(record["name"].startswith("masked:") for record in shown)
    assert table["choice"].to_pylist() == [0, 1] * 10, "equal values have equal pseudonyms"
    assert {json.loads(q.query)["price"] for q in local.asked} == {"7.5"}
    # The label store is shown around too; the warehouse's own table has the records as they are.
    remote_store = [row for row in store.export().to_pylist() if row["teacher"] == "exact"]
    assert "n3" not in json.dumps(remote_store)
    assert json.loads(table["query"].to_pylist()[3]) == {"name": "n3", "price": "7.5"}


def test_a_private_column_that_is_not_there_stops_before_anything_is_asked(store: LabelStore) -> None:
    teacher = Exact()
    with pytest.raises(SettingsError, match="prise"):
        Run([teacher], store, privacy=Privacy(private=("prise",))).label(ROWS)
    assert teacher.asked == []


def test_the_store_knows_whom_every_question_shows(store: LabelStore) -> None:
    Run([Exact(asking=Asking(orders=2))], store).label(ROWS)
    assert store.delete(erasure.of_record("right", 103), dry_run=True).answers == 2
    assert store.delete(erasure.of_record("left", 3)).answers == 2
    again = Exact()
    Run([again], store).label(ROWS)
    assert [question.query for question in again.asked] == ['{"name":"n3"}']
    pairs = Exact(name="pairs", asking=Asking(ask="match"))
    Run([pairs], store).label(ROWS.slice(5, 1))
    # A pair's question shows two records, not the other candidates.
    assert store.delete(erasure.of_record("right", 205)).answers == 2 + 1


class TestRun:
    TEXTS = (('{"name":"a"}', ('{"name":"b"}', '{"name":"a"}')),)

    def run(self, store: LabelStore, *teachers: Exact, budget: Budget | None = None, vote: str = "majority") -> Run:
        return Run(teachers, store, budget or Budget(), Privacy(), vote)

    def test_one_teacher_answers_as_it_does(self, store: LabelStore) -> None:
        ((answer, name),) = self.run(store, Exact()).answer(self.TEXTS)
        assert (answer.choice, name) == (2, "exact")

    def test_several_vote(self, store: LabelStore) -> None:
        second, first = Exact(name="second"), First(name="first")
        ((answer, name),) = self.run(store, Exact(), second, first).answer(self.TEXTS)
        assert answer.choice == 2
        assert all(who in name for who in ("exact", "second", "first"))
        ((torn, _),) = self.run(store, Exact(), first).answer(self.TEXTS)
        assert torn.choice is None
        ((strict, _),) = self.run(store, Exact(), second, first, vote="unanimous").answer(self.TEXTS)
        assert strict.choice is None

    def test_a_teacher_that_fails_does_not_vote(self, store: LabelStore) -> None:
        class Broken(Exact):
            def reply(self, question: Question) -> Answer:
                return Answer(None, error="no answer: the server said 500", failed=True)

        ((answer, _),) = self.run(store, Exact(), Broken(name="broken")).answer(self.TEXTS)
        assert answer.choice == 2

    def test_who_sees_more_than_a_question_is_left_out(self, store: LabelStore) -> None:
        apprentice, looking = Apprentice(name="apprentice"), Looking(name="looking")
        ((answer, name),) = self.run(store, apprentice, Exact(), looking).answer(self.TEXTS)
        assert (answer.choice, name) == (2, "exact")
        with pytest.raises(TeacherError, match="er_label asks one question at a time"):
            self.run(store, apprentice, looking).answer(self.TEXTS)
        assert apprentice.base.asked == [], "and nobody was paid for it"

    def test_a_spent_budget_raises(self, store: LabelStore) -> None:
        run = self.run(store, Exact(), budget=Budget(Limits(calls=0)))
        with pytest.raises(BudgetSpent, match="0 calls"):
            run.answer(self.TEXTS)
        assert replace(run, budget=Budget()).answer(self.TEXTS)[0][0].choice == 2


def _with_prices(row: dict[str, object]) -> dict[str, object]:
    candidates = [{**c, "record": {**c["record"], "price": 7.5}} for c in row["candidates"]]  # type: ignore[attr-defined]
    return {**row, "query": {**row["query"], "price": 7.5}, "candidates": candidates}  # type: ignore[dict-item]
