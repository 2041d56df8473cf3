"""Replies are read where they say something clear; everything else abstains with its reason."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distiller_udf.prompts import Question, parse_answer, read_reply

BENCHMARKS = Path(os.environ.get("DISTILLER_BENCHMARKS", Path(__file__).parents[3] / "shared" / "benchmarks"))

MATCH = Question("{}", ("{}",), "match")
JUSTIFY = Question("{}", ("{}", "{}"), "justify", chosen=2)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ('{"explanation": "same model", "choice": 2, "confidence": 0.9}', 2),
        ('{"choice": 0}', 0),
        ('{"choice": "[10]"}', 10),
        ('{"choice": 10.0}', 10),
        ('{"choice": [3]}', 3),
        ('{"choice": "none"}', 0),
        ('{"answer": "[4]", "explanation": "x"}', 4),
        ('```json\n{"choice": 3}\n```', 3),
        ("```\n[3]\n```", 3),
        ('Sure! Here it is:\n{"choice": 5, "explanation": "as [2] and [3] differ"}\nHope it helps.', 5),
        ('{"properties": {"answer": {"type": "string"}}}\n{"answer": "[7]"}', 7),
        ('{"properties": {"answer": "[5]", "explanation": "x"}}', 5),
        ('<think>It could be [1]; or {"choice": 2}.</think>\n{"choice": 3}', 3),
        ("[3]", 3),
        ("3", 3),
        ("3.", 3),
        ("[10]", 10),
        ("[0]", 0),
        ("**[2]**", 2),
        ("Candidate 4", 4),
        ("none", 0),
        ("None of the above.", 0),
        ("No matching record found", 0),
        ("The answer is: [2], although [1] is similar.", 2),
        ("The corresponding record number is: [6]\n\n* Record [1] is another model.", 6),
        ("The answer is 2.", 2),
        ("Both have the number X-200.\n\n**Answer:** candidate 7", 7),
        ("The answer is 2.5", None),
        ("Answer: 2. No, answer: 3", None),
        ("I think record [9] fits, as [9] has the same number.", 9),
        ('{"choice": 3, "explanation": "cut of', 3),
        ('{"explanation": "cut off", "choice": 1', None),
        ('{"explanation": "cut of', None),
        ("The record fits [1] and also [2].", None),
        ('{"choice": 1} or rather {"choice": 2}', None),
        ('{"choice": 1, "choice": 2}', None),
        ('{"choice": 1, "answer": 2}', None),
        ('{"choice": 11}', None),
        ('{"choice": -1}', None),
        ('{"choice": 2.5}', None),
        ('{"choice": true}', None),
        ('{"choice": null}', None),
        ('{"choice": 1e400}', None),
        ("[11]", None),
        ("2008", None),
        ("I found no problem, it costs 3 dollars", None),
        ("I cannot help with that.", None),
        ("", None),
        ("   \n", None),
        ("[[[[" * 2_000, None),
        ("{" * 20_000, None),
        ('{"choice":' * 20_000, None),
        ("answer is " + "* " * 20_000, None),
        ("[1]" * 400_000, None),
    ],
)
def test_parse(reply: str, choice: int | None) -> None:
    answer = parse_answer(reply, 10)
    assert answer.choice == choice
    assert (answer.error is None) == (choice is not None)
    assert answer.abstained == (choice is None)
    assert not answer.failed


def test_parse_nothing() -> None:
    assert parse_answer(None, 3).error == "abstained: the reply is empty"


@pytest.mark.parametrize(
    ("confidence", "read"),
    [
        ("0.9", 0.9),
        ('"0.9"', 0.9),
        ("90", 0.9),
        ("1", 1.0),
        ("-1", None),
        ("1000", None),
        ("null", None),
        ("true", None),
    ],
)
def test_confidence_and_explanation(confidence: str, read: float | None) -> None:
    answer = parse_answer(f'{{"choice": 1, "confidence": {confidence}, "explanation": " same\\nmodel "}}', 1)
    assert answer.confidence == read
    assert answer.explanation == "same\nmodel"


@given(st.text(max_size=300), st.integers(0, 12))
def test_any_text_gives_a_choice_in_range_or_a_reason(reply: str, n: int) -> None:
    answer = parse_answer(reply, n)
    assert (answer.choice is None) != (answer.error is None)
    assert answer.choice is None or 0 <= answer.choice <= n


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["choice", "answer", "properties", "confidence", "explanation"]), inner)
    ),
    max_leaves=12,
)


@given(_json, st.integers(0, 12))
def test_any_json_gives_a_choice_in_range_or_a_reason(value: object, n: int) -> None:
    answer = parse_answer(json.dumps(value), n)
    assert (answer.choice is None) != (answer.error is None)
    assert answer.choice is None or 0 <= answer.choice <= n
    assert answer.confidence is None or 0 <= answer.confidence <= 1


@given(st.integers(1, 30), st.data(), st.text(max_size=60), st.sampled_from(["{}", "```json\n{}\n```", "Well.\n{}\n"]))
def test_a_proper_answer_is_always_read(n: int, data: st.DataObject, why: str, around: str) -> None:
    choice = data.draw(st.integers(0, n))
    reply = json.dumps({"explanation": why, "choice": choice, "confidence": 0.5})
    answer = parse_answer(around.replace("{}", reply), n)
    assert answer.choice == choice
    assert answer.explanation == (why.strip() or None)


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the recorded replies: set DISTILLER_BENCHMARKS")
def test_real_broken_replies() -> None:
    outcomes: Counter[str] = Counter()
    for file in sorted(BENCHMARKS.glob("*/teacher_labels.parquet")):
        table = pq.read_table(file, columns=["options", "answer", "unparsed"])
        for row in table.to_pylist():
            if row["unparsed"] is not None:
                answer = parse_answer(row["unparsed"], len(row["options"]))
                kind = "abstained" if answer.choice is None else str(answer.choice == row["answer"])
                outcomes[kind] += 1
    assert outcomes["True"] / (outcomes["True"] + outcomes["False"]) >= 0.99
    assert outcomes["abstained"] <= 0.05 * outcomes.total()


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ('{"explanation": "same model", "match": true, "confidence": 0.9}', 1),
        ('{"match": false}', 0),
        ('{"match": "yes"}', 1),
        ('{"match": "No."}', 0),
        ('{"answer": "no match"}', 0),
        ('{"properties": {"match": true}}', 1),
        ('```json\n{"match": true}\n```', 1),
        ('Sure:\n{"explanation": "no, not the same size", "match": false}\nDone.', 0),
        ('<think>yes, {"match": true}</think>{"match": false}', 0),
        ('{"match": true, "explanation": "cut of', 1),
        ('{"explanation": "the model {X', None),
        ("true", 1),
        ("False", 0),
        ('"yes"', 1),
        ("**No**", 0),
        ("Y", 1),
        ("n", 0),
        ("Yes, both have the number X-200.", 1),
        ("No. The sizes differ.", 0),
        ("No, they are different editions.", 0),
        ("Yes - the same model", 1),
        ("no match", 0),
        ("Not a match.", 0),
        ("The same entity.", 1),
        ("The number is the same. The answer is: yes", 1),
        ("**Answer:** no", 0),
        ("They match.", 1),
        ("Both records describe the same real-world entity, because the numbers are equal.", 1),
        ("Both records describe the same real-world entity because the numbers are equal.", 1),
        ("They do not match.", 0),
        ("The two records are not the same entity.", 0),
        ("So these records describe different entities.", 0),
        ('{"match": true, "match": false}', None),
        ('{"match": true, "answer": "no"}', None),
        ('{"match": true} or rather {"match": false}', None),
        ('{"match": null}', None),
        ('{"match": 7}', None),
        ('{"match": "perhaps"}', None),
        ('{"choice": 1}', None),
        ("[1]", None),
        ("1", None),
        ("Yes and no", None),
        ("Yes, no", None),
        ("No, they match.", None),
        ("No doubt they are the same.", None),
        ("I cannot say whether they match.", None),
        ("I cannot answer yes or no.", None),
        ("They match in name only.", None),
        ("If they match, the answer is yes or no.", None),
        ("The records match no other record", None),
        ("I cannot help with that.", None),
        ("", None),
        (" \n", None),
        ("yes " * 20_000, None),
        ("{" * 20_000, None),
        ('{"match":' * 20_000, None),
        ("answer is " + "* " * 20_000, None),
        ("they " * 9_999, None),
    ],
)
def test_yes_and_no(reply: str, choice: int | None) -> None:
    started = time.perf_counter()
    answer = read_reply(reply, MATCH)
    assert time.perf_counter() - started < 2
    assert answer.choice == choice
    assert (answer.error is None) == (choice is not None)
    assert answer.abstained == (choice is None)


def test_a_match_reply_keeps_its_confidence_and_its_reason() -> None:
    answer = read_reply('{"explanation": " same model ", "match": true, "confidence": "90"}', MATCH)
    assert (answer.choice, answer.confidence, answer.explanation) == (1, 0.9, "same model")


@given(st.text(max_size=300) | _json.map(json.dumps))
def test_any_reply_to_a_match_question_gives_yes_or_no_or_a_reason(reply: str) -> None:
    answer = read_reply(reply, MATCH)
    assert (answer.choice is None) != (answer.error is None)
    assert answer.choice in (None, 0, 1)


@given(
    st.booleans(),
    st.text(max_size=60),
    st.floats(0, 1),
    st.sampled_from(["{}", "```json\n{}\n```", "Well.\n{}\n", "<think>No.</think>{}"]),
)
def test_a_proper_verdict_is_always_read(match: bool, why: str, confidence: float, around: str) -> None:
    reply = json.dumps({"explanation": why, "match": match, "confidence": confidence})
    answer = read_reply(around.replace("{}", reply), MATCH)
    assert (answer.choice, answer.confidence) == (int(match), confidence)
    assert answer.explanation == (why.strip() or None)


@pytest.mark.parametrize(
    ("reply", "explanation"),
    [
        ('{"explanation": " the number in model "}', "the number in model"),
        ('```json\n{"explanation": "price"}\n```', "price"),
        ('Here:\n{"explanation": "price"}', "price"),
        ('{"explanation": "the number and the na', "the number and the na"),
        ('{"explanation": "\\"X\\" in name', '\\"X\\" in name'),
        ("The number decides.", "The number decides."),
        ("<think>hm</think>\nThe number decides.", "The number decides."),
        ("x" * 5_000, "x" * 2_000),
        (json.dumps({"explanation": "x" * 5_000}), "x" * 2_000),
        ('{"choice": 1, "explanation": "it is candidate [1]"}', "it is candidate [1]"),
        ('{"choice": 1}', None),
        ('{"explanation": ""}', None),
        ('{"explanation": null}', None),
        ('{"expl', None),
        ("", None),
        ("x" * 60_000, None),
    ],
)
def test_a_reason_never_changes_the_answer(reply: str, explanation: str | None) -> None:
    answer = read_reply(reply, JUSTIFY)
    assert answer.explanation == explanation
    assert answer.choice == (None if explanation is None else 2)
    assert (answer.error is None) == (explanation is not None)


@given(st.text(max_size=300) | _json.map(json.dumps))
def test_any_reason_is_short_or_a_reason_why_there_is_none(reply: str) -> None:
    answer = read_reply(reply, JUSTIFY)
    assert (answer.choice, answer.error is None) in ((2, True), (None, False))
    assert answer.explanation is None or 0 < len(answer.explanation) <= 2_000


def test_a_question_says_how_its_reply_is_read() -> None:
    pair = ("{}", "{}")
    assert read_reply('{"choice": 2}', Question("{}", pair, "select", "answer")).choice == 2
    assert read_reply("B", Question("{}", pair, "select", "token")).choice == 2
    assert read_reply("Y", Question("{}", pair[:1], "match", "token")).choice == 1
    assert read_reply(None, Question("{}", pair)).error == "abstained: the reply is empty"
