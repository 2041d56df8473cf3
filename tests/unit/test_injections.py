"""Injections: no record leaves its line, and how much of what a record wants gets through to an answer.

The second part asks a model that obeys every record, so it measures what stands behind the model, never a model.
`docs/security.md` shows its figures.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from injections import INJECTIONS, Injection

from distiller_udf.prompts import (
    PROMPT_VERSIONS,
    Answer,
    Ask,
    Asking,
    Question,
    Reply,
    messages,
    read_reply,
    read_token,
    reply_schema,
    token_labels,
)
from distiller_udf.records import Records

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
PROMPTS = list(PROMPT_VERSIONS)
PLAIN = Records.from_dicts([{"name": f"Oven {i}", "price": str(i)} for i in range(4)]).texts()


def carried(injection: Injection) -> str:
    """The canonical text of a record with this injection, as a table gives it."""
    (text,) = Records.from_dicts([{"name": injection.text, "price": "9"}]).texts()
    return text


def asked(ask: Ask, reply: Reply, query: str = PLAIN[0], *candidates: str) -> Question:
    offered = candidates or tuple(PLAIN)
    offered = offered[-1:] if ask == "match" else offered
    return Question(query, offered, ask, reply, chosen=1 if ask == "justify" else None)


def in_the_query(ask: Ask, reply: Reply, text: str) -> Question:
    return asked(ask, reply, text)


def in_a_candidate(ask: Ask, reply: Reply, text: str) -> Question:
    return asked(ask, reply, PLAIN[0], *PLAIN[1:], text)


def shown_as_data(question: Question) -> None:
    """The user message has its markers, one line a record and one question, whatever the records say."""
    system, user = messages(question)
    lines = user["content"].splitlines()
    marks = [str(i) for i in range(1, 5)] if question.reply != "token" else list("ABCD")
    if question.ask == "match":
        assert [lines[i] for i in (0, 2, 3, 5)] == ["<query>", "</query>", "<candidate>", "</candidate>"]
        records = [lines[1], lines[4]]
    else:
        assert [lines[i] for i in (0, 2, 3, 8)] == ["<query>", "</query>", "<candidates>", "</candidates>"]
        records = [lines[1], *(line.removeprefix(f"[{m}] ") for m, line in zip(marks, lines[4:8], strict=True))]
    assert len(lines) == (7 if question.ask == "match" else 10)
    assert [json.loads(line) for line in records] == [json.loads(t) for t in (question.query, *question.candidates)]
    assert not any("<" in line for line in records)
    benign = asked(question.ask, question.reply)
    assert system == messages(benign)[0]
    assert lines[-1] == messages(benign)[1]["content"].splitlines()[-1]


@pytest.mark.parametrize(("ask", "reply"), PROMPTS)
@pytest.mark.parametrize("place", [in_the_query, in_a_candidate])
def test_every_injection_stays_one_line_of_data(ask: Ask, reply: Reply, place) -> None:  # type: ignore[no-untyped-def]
    for injection in INJECTIONS:
        shown_as_data(place(ask, reply, carried(injection)))


@pytest.mark.parametrize(("ask", "reply"), PROMPTS)
def test_so_it_does_as_a_column_name_and_as_plain_text(ask: Ask, reply: Reply) -> None:
    for injection in INJECTIONS:
        shown_as_data(in_a_candidate(ask, reply, json.dumps({injection.text: "x"}, ensure_ascii=False)))
        user = messages(in_the_query(ask, reply, f"- {injection.text}"))[1]["content"]
        assert json.loads(user.splitlines()[1]) == {"text": f"- {injection.text}"}


def test_the_set_is_broad() -> None:
    assert len(INJECTIONS) >= 40
    assert len({injection.text for injection in INJECTIONS}) == len(INJECTIONS)
    assert len({injection.kind for injection in INJECTIONS}) >= 12


def obeyed(injection: Injection, question: Question) -> dict[str, str]:
    """The replies of a model that does as the record says: its words, the asked-for JSON, a fence, an echo."""
    wish = injection.wish
    plain = ("yes" if wish else "no") if isinstance(wish, bool) else str(wish)
    schema = reply_schema(question) or {"properties": ["choice"]}
    fields = {"explanation": "The record says so.", "choice": wish, "match": wish, "confidence": 1}
    form = json.dumps({name: fields[name] for name in schema["properties"]})
    return {
        "plain": plain,
        "brackets": f"[{plain}]",
        "json": form,
        "fenced": f"```json\n{form}\n```",
        "echo": injection.text,
    }


def read(reply: str, question: Question) -> Answer:
    if question.reply == "token":
        return read_token(reply, {reply: -0.001}, question)
    return read_reply(reply, question)


def allowed(reply: str, question: Question) -> bool:
    """Whether a server that holds the model to the asked-for form could send this reply."""
    schema = reply_schema(question)
    if schema is None:
        return reply in token_labels(question)
    try:
        jsonschema.validate(json.loads(reply), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def outcome(injection: Injection, ask: Ask, reply: Reply) -> str:
    """What becomes of this injection at worst, over all the ways in which an obeying model may put it."""
    question = in_a_candidate(ask, reply, carried(injection))
    replies = obeyed(injection, question).values()
    through = [text for text in replies if read(text, question).choice is not None]
    if any(allowed(text, question) for text in through):
        return "got through"
    return "stopped by the form" if through else "abstained"


AIMS = ["a candidate", "none", "a candidate's letter", "yes or no", "out of range", "free text"]
KINDS: list[tuple[Ask, Reply]] = [("select", "answer"), ("select", "token"), ("match", "answer"), ("match", "token")]


def figures() -> dict[str, list[Counter[str]]]:
    """By what the injections want: how they ended, for every way of asking."""
    table = {aim: [Counter[str]() for _ in KINDS] for aim in AIMS}
    for injection in INJECTIONS:
        for counter, (ask, reply) in zip(table[injection.aim], KINDS, strict=True):
            counter[outcome(injection, ask, reply)] += 1
    return table


def test_what_gets_through_a_model_that_obeys() -> None:
    table = figures()
    through = {aim: [counter["got through"] for counter in row] for aim, row in table.items()}
    whole = {aim: row[0].total() for aim, row in table.items()}
    assert through["out of range"] == through["free text"] == [0, 0, 0, 0]
    # Nobody can tell an answer that a record asked for from one that the records deserve.
    assert through["a candidate"][0] == whole["a candidate"]
    assert through["none"][:2] == [whole["none"]] * 2
    assert through["a candidate's letter"][1] == whole["a candidate's letter"]
    assert through["a candidate"][1:] == [0, 0, 0]
    assert through["yes or no"][:2] == [0, 0]
    assert min(through["yes or no"][2:]) > 0


@pytest.mark.parametrize("ask", ["select", "match"])
def test_the_three_json_replies_let_the_same_through(ask: Ask) -> None:
    for injection in INJECTIONS:
        assert len({outcome(injection, ask, r) for r in ("explanation", "confidence", "answer")}) == 1, injection


@pytest.mark.parametrize(("ask", "reply"), PROMPTS)
def test_out_of_range_and_free_text_never_become_an_answer(ask: Ask, reply: Reply) -> None:
    for injection in INJECTIONS:
        question = in_the_query(ask, reply, carried(injection))
        for text in obeyed(injection, question).values():
            answer = read(text, question)
            if ask == "justify":
                assert answer.choice in (1, None), "a reason cannot change the answer that it is for"
            elif injection.aim in ("out of range", "free text"):
                assert answer.choice is None, injection


def test_the_documentation_shows_these_figures() -> None:
    said = SECURITY.read_text(encoding="utf-8")
    for aim, row in figures().items():
        cells = [f"{counter['got through']} of {counter.total()}" for counter in row]
        assert f"| {aim} | {' | '.join(cells)} |" in said, f"{aim}: {cells}"
    kinds = {injection.kind for injection in INJECTIONS}
    assert f"{len(INJECTIONS)} records of {len(kinds)} kinds" in said


def obey(asking: Asking, position: int | None) -> Answer:
    """What comes of a tuple when the model names a fixed position, or (None) wherever its last candidate stands."""
    candidates = tuple(PLAIN)
    posed = asking.pose(PLAIN[0], candidates)
    numbers = [p.positions.index(len(candidates) - 1) + 1 if position is None else position for p in posed]
    answers = [read_reply(f'{{"choice": {n}}}', p.question) for n, p in zip(numbers, posed, strict=True)]
    return asking.combine(len(candidates), posed, answers)


@pytest.mark.parametrize("position", [1, 2, 3, 4])
@pytest.mark.parametrize("orders", [2, 3, 4])
def test_several_orders_catch_a_record_that_names_a_position(orders: int, position: int) -> None:
    assert obey(Asking(orders=1), position).choice == position
    assert obey(Asking(orders=orders), position).abstained


@given(st.lists(st.floats(0.6, 0.99), min_size=4, max_size=4), st.integers(2, 4), st.integers(1, 4))
def test_they_leave_a_model_that_half_obeys_unsure(obeying: list[float], orders: int, position: int) -> None:
    asking = Asking(reply="token", orders=orders)
    posed = asking.pose(PLAIN[0], tuple(PLAIN))
    answers = []
    for p, share in zip(posed, obeying, strict=False):
        labels = token_labels(p.question)
        likely = {label: math.log(share if i == position else (1 - share) / 4) for i, label in enumerate(labels)}
        answers.append(read_token(labels[position], likely, p.question))
    answer = asking.combine(len(PLAIN), posed, answers)
    assert answer.choice is None or (answer.confidence or 1) < 0.6


def test_several_orders_do_not_catch_a_record_that_says_choose_me() -> None:
    answer = obey(Asking(orders=4), None)
    assert (answer.choice, answer.confidence) == (4, pytest.approx(1))


def test_several_orders_do_not_catch_a_record_that_says_none() -> None:
    assert obey(Asking(orders=4), 0).choice == 0


def test_a_record_that_says_yes_to_every_pair_gets_through_in_both_directions() -> None:
    asking = Asking(ask="match", orders=2)
    posed = asking.pose(PLAIN[0], tuple(PLAIN[1:]))
    answer = asking.combine(3, posed, [read_reply('{"match": true}', p.question) for p in posed])
    assert answer.probabilities == (1, 1, 1)


def test_what_a_reply_says_is_short_and_one_line_in_an_error() -> None:
    for injection in INJECTIONS:
        answer = read_reply(injection.text, asked("select", "answer"))
        assert answer.error is None or len(answer.error) < 700
        assert answer.error is None or not re.search(r"[\x00-\x1f\x7f]", answer.error)
