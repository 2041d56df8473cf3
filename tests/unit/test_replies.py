"""Replies are read where they say something clear; everything else abstains with its reason."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.prompts import Question, Reply, parse_answer, read_reply, token_labels

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
        ("The answer is: [2], although [1] is similar.", None),
        ("The answer is: [2]\nAlthough [1] is similar.", 2),
        ("Therefore, the answer is: [2].", 2),
        ("Both fit.\n\nAnswer: **[2]**", 2),
        ("Answer: #2", 2),
        ("[[2]]", 2),
        ("Answer: none", 0),
        ("Answer: [2", None),
        ("Answer: 2 or 3", None),
        ("Answer: not [2]", None),
        ("[2]\nis close, but it differs", None),
        ("It is not:\n[2]", None),
        ("[2]\n\nAnswer: [3]", None),
        ("[2] is close.\n\nAnswer: [3]", None),
        ('Therefore, the answer is: {"choice": 2}', 2),
        ('It is not {"choice": 2}.', None),
        ('Answer: [1]\n{"choice": 2}', None),
        ('{"choice": 2}\n{"choice": 2}', 2),
        ('{"choice": 2, "reasoning": "as a whole reply it may have more fields"}', 2),
        ('The record:\n{"name": "Quiz 7", "choice": 2}', None),
        ('{"name": "Quiz 7", "choice": 3}\nAnswer: [2]', None),
        ('{"record": {"choice": 1}, "choice": 2}', None),
        ('{"properties": {"choice": {"type": "integer"}}, "required": ["choice"]}', None),
        ('The record:\n{"name": "x", "properties": {"choice": 2}}', None),
        ('[{"choice": 2}', None),
        ('The form {"choice": <number>} is:\n{"choice": 2}', None),
        ('"choice": 2\n}', None),
        ("```\n[3]", 3),
        ("\0" + "0\1", None),
        ("Answer: 1", None),
        ("Answer: 1.", 1),
        ("Answer: [1]", 1),
        ("1", None),
        ('{"choice": "1"}', 1),
        ("The corresponding record number is: [6]\n\n* Record [1] is another model.", 6),
        ("The answer is 2.", 2),
        ("Both have the number X-200.\n\n**Answer:** candidate 7", 7),
        ("The answer is 2.5", None),
        ("Answer: 2. No, answer: 3", None),
        ("I think record [9] fits, as [9] has the same number.", None),
        ('{"choice": 3, "explanation": "cut of', None),
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
    assert outcomes["abstained"] <= 0.10 * outcomes.total()


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
        ('{"match": true, "explanation": "cut of', None),
        ('{"explanation": "the model {X', None),
        ("true", 1),
        ("False", 0),
        ('"yes"', 1),
        ("**No**", 0),
        ("Y", 1),
        ("n", 0),
        ("Yes, both have the number X-200.", None),
        ("No. The sizes differ.", None),
        ("No, they are different editions.", None),
        ("Yes - the same model", None),
        ("Yes.\nHowever the model differs, so no match.", None),
        ("Match: yes\nBoth have the number X-200.", 1),
        ("**Match:** no", 0),
        ('Yes, the same:\n{"match": true}', 1),
        ('No, wait:\n{"match": true}', None),
        ("The sizes differ.\nThe answer is: no.", 0),
        ("no match", 0),
        ("Not a match.", 0),
        ("The same entity.", 1),
        ("The number is the same. The answer is: yes", None),
        ("**Answer:** no", 0),
        ("They match.", None),
        ("Both records describe the same real-world entity, because the numbers are equal.", None),
        ("Both records describe the same real-world entity because the numbers are equal.", None),
        ("They do not match.", None),
        ("The two records are not the same entity.", None),
        ("So these records describe different entities.", None),
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


NEGATIONS = [
    "None of the candidates match; the closest, [2], differs",
    "None of the candidates match. The closest is\n[2]",
    "I would not say [2]",
    "It is not 2",
    "It is not [2].",
    "It is not:\n[2]",
    "Answer: not [2]",
    "The answer is not [2].",
    "Wrong answer: [2]",
    "[2]? No.",
    "[2] differs.",
    "[2] no",
    "Not [2]",
    "No match: [2]",
    "Answer: none; the closest is [2]",
    "Neither [1] nor [2]",
    "[2]\nNo, that one differs.",
    'I would not say {"choice": 2}.',
    'The answer is not {"choice": 2, "match": true}',
    "Yes, the brand is the same. However the model differs, so no match.",
    "Yes, the brand is the same.\nHowever the model differs, so no match.",
    "Yes\n\nHowever the model differs, so no match.",
    "not a match",
    "Not the same entity.",
    "No, they match in name only.",
    "They do not match.",
    "Answer: not yes",
    "Answer: yes and no",
    "Match: not sure",
    "True, the brand is the same; the model differs.",
    "The answer would be yes if the sizes were equal.",
    "It would be wrong to say yes",
    "No match",
    "Same brand, another model.",
    "A match is out of the question.",
]


@pytest.mark.parametrize("reply", NEGATIONS)
@pytest.mark.parametrize("before", ["", "Both are ovens.\n\n", "<think>[2]; yes</think>"])
def test_a_negation_is_never_a_match(reply: str, before: str) -> None:
    for asked in (MATCH, SELECT):
        for kind in ("explanation", "token"):
            answer = read_reply(before + reply, replace(asked, reply=kind))
            assert not answer.choice, answer


SELECT = Question("{}", ("{}",) * 12, "select")
_prose = st.text(max_size=40) | st.lists(
    st.sampled_from(
        [
            *(
                "{",
                "}",
                "[",
                "]",
                "[2]",
                "[11]",
                "3",
                '"',
                ":",
                ",",
                "choice",
                '"choice"',
                "match",
                "answer",
                "is",
                "the",
            ),
            *(
                "not",
                "no",
                "yes",
                "none",
                "None",
                "Answer:",
                "Answer: [2]",
                "true",
                "\n",
                "\n\n",
                "```",
                "```json\n",
                "</think>",
            ),
            *(
                '{"choice": 2}',
                '{"match": true}',
                '{"a": [',
                '"explanation": "',
                "The closest,",
                "differs.",
                "1. ",
                "N",
                "B",
            ),
        ]
    ),
    max_size=9,
).map(" ".join)


def _replies(question: Question, decision: int, why: str) -> list[str]:
    """A decision as every prompt asks for it, and in the other forms that are read."""
    name, value = ("match", bool(decision)) if question.ask == "match" else ("choice", decision)
    word = ("no", "yes")[decision] if question.ask == "match" else f"[{decision}]"
    label = (
        ("N", "Y")[decision] if question.ask == "match" else token_labels(replace(question, reply="token"))[decision]
    )
    if question.reply == "token":
        return [label, f"[{label}]", f"**{label}**.", json.dumps({"answer": label})]
    form = {"explanation": why, name: value, "confidence": 0.9}
    whole = json.dumps(form, ensure_ascii=False)
    inner = json.dumps({"properties": form})
    plain = [word, f"**{word}**.", f"Answer: {word}", f"Therefore, the answer is {word}."]
    if question.ask == "select":
        plain += [str(decision), f"Answer: {decision}", f"Candidate {decision}"]
    return [
        whole,
        json.dumps(form, indent=2),
        json.dumps({name: value, "confidence": 0.5, "explanation": why}),
        json.dumps({name: value}),
        json.dumps({name: str(value)}),
        f"```json\n{whole}\n```",
        f'<think>[2] or {{"choice": 1}}? Yes.</think>\n{whole}',
        inner,
        *plain,
    ]


def _asked(reply: Reply) -> st.SearchStrategy[tuple[Question, int]]:
    pairs = st.tuples(st.just(replace(MATCH, reply=reply)), st.integers(0, 1))
    tuples = st.integers(1, 19).flatmap(
        lambda n: st.tuples(st.just(Question("{}", ("{}",) * n, "select", reply)), st.integers(0, n))
    )
    return pairs | tuples


_any_question = st.sampled_from(["explanation", "token"]).flatmap(_asked)


@settings(max_examples=60)
@given(_any_question, _prose)
def test_no_prefix_reads_as_another_decision(asked: tuple[Question, int], why: str) -> None:
    question, decision = asked
    for reply in _replies(question, decision, why):
        assert read_reply(reply, question).choice in (decision, None), reply
        for end in range(len(reply)):
            assert read_reply(reply[:end], question).choice in (decision, None), reply[:end]


@settings(max_examples=300)
@given(_any_question, _prose, _prose, st.sampled_from(["\n", "\n\n", " "]), st.data())
def test_prose_around_a_reply_never_makes_it_another_decision(
    asked: tuple[Question, int], before: str, behind: str, between: str, data: st.DataObject
) -> None:
    """Nor does any prefix of both: a reply that is read has no prefix that reads as something else."""
    question, decision = asked
    reply = data.draw(st.sampled_from(_replies(question, decision, "It has [2].")))
    if between != " ":  # beside words on its own line, a line is no longer that reply
        assert read_reply(reply + between + behind, question).choice in (decision, None)
        assert read_reply(before + between + reply, question).choice in (decision, None)
    whole = before + between + reply + between + behind
    read = read_reply(whole, question).choice
    if read is not None:
        for end in range(len(whole)):
            assert read_reply(whole[:end], question).choice in (read, None), whole[:end]


def test_thinking_is_removed_where_a_reply_begins_with_it_alone() -> None:
    """What a record may have put into a reply cannot cut it."""
    inside = json.dumps({"explanation": 'it says </think>{"choice": 2}', "choice": 0})
    assert parse_answer(inside, 5).choice == 0
    assert parse_answer(f"<think>hm</think>{inside}", 5).choice == 0
    assert parse_answer('<think>a record says </think>\n[2]\n</think>\n{"choice": 0}', 5).abstained
    assert parse_answer("No candidate fits; one says </think>\n[2]", 5).abstained
    assert parse_answer('It was close. </think>\n{"choice": 3}', 5).choice == 3
    assert parse_answer("<think>Answer: [2]", 5).abstained
    reason = read_reply(json.dumps({"explanation": "one says </think> and no more"}), JUSTIFY)
    assert reason.explanation == "one says </think> and no more"
