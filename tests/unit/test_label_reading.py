"""Labels as people have them: every shape is read alike, from every kind of file, and what is wrong is a sentence."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from distiller_udf.errors import LabelError
from distiller_udf.files.tables import read_table
from distiller_udf.labels import Label, good_labels, read_labels
from distiller_udf.records import record_text

ROWS = {"left_id": [1, 2], "options": [[10, 11], [12]], "teacher": ["qwen"] * 2}


def said(label: Label) -> tuple[str | None, tuple[str | None, ...], int | None]:
    """A label's ids and choice."""
    return label.left[1], tuple(key for _, key in label.options), label.choice


def read(columns: Mapping[str, object]) -> list[tuple[str | None, tuple[str | None, ...], int | None]]:
    return [said(label) for label in good_labels(pa.table(dict(columns)))]


@pytest.mark.parametrize(
    ("columns", "choices"),
    [
        ({"right_id": [11, None]}, [2, 0]),
        ({"right_id": [11.0, float("nan")]}, [2, 0]),
        ({"right_id": ["11", None], "options": ["[10, 11]", "[12]"]}, [2, 0]),
        ({"answer": [2, None]}, [2, None]),
        ({"answer": [2.0, 0.0]}, [2, 0]),
        ({"answer": ["2", "0"]}, [2, 0]),
        ({"choice": ["2", "0"]}, [2, 0]),
        ({"choice": [1, 0], "right_id": [11, 12]}, [1, 0]),
        ({"choice": [None, 0], "right_id": [11, None]}, [2, 0]),
        ({"Choice": [2, 0], "LEFT_ID": [1, 2]}, [2, 0]),
        ({"answer": [2, 0], "right_id": [11, None]}, [2, 0]),
        ({"answer": [None, None], "right_id": [11, None]}, [2, None]),
        ({"answer": ["2", "true"]}, [2, 1]),
        ({"answer": ["2", "False"]}, [2, 0]),
        ({"answer": [2, None], "is_match": [None, True]}, [2, 1]),
    ],
)
def test_ways_to_give_the_answer(columns: dict[str, list[object]], choices: list[int | None]) -> None:
    rows = {name: values for name, values in ROWS.items() if name.upper() not in columns} | columns
    assert [choice for *_, choice in read(rows)] == choices


@pytest.mark.parametrize(
    ("columns", "choices"),
    [
        ({}, [1, 1]),
        ({"is_match": [True, False]}, [1, 0]),
        ({"Is_Match": [1, 0]}, [1, 0]),
        ({"match": ["true", "FALSE"]}, [1, 0]),
        ({"answer": ["1", "0"]}, [1, 0]),
        ({"choice": [1.0, None]}, [1, None]),
        ({"is_match": [None, None], "match": ["yes", "no"]}, [1, 0]),
        ({"options": [None, None], "answer": [1, 0]}, [1, 0]),
    ],
)
def test_a_pair_a_line(columns: dict[str, list[object]], choices: list[int | None]) -> None:
    found = read({"left_id": [1, 2], "RIGHT_ID": ["a", "b"], **columns})
    assert found == [("1", ("a",), choices[0]), ("2", ("b",), choices[1])]


def test_whose_labels_they_are() -> None:
    table = pa.table({"left_id": [1], "right_id": [2]})
    assert [label.teacher for label in good_labels(table)] == ["people"]
    assert [label.teacher for label in good_labels(table, teacher="ana")] == ["ana"]
    named = table.append_column("Teacher", pa.array([" bo "]))
    assert [label.teacher for label in good_labels(named, teacher="ana")] == ["bo"]


def test_options_may_be_structs_with_records() -> None:
    option = [
        {"source": "shop", "id": 2, "record": {"name": "b", "price": 2.5}},
        {"source": None, "id": 3, "record": None},
    ]
    table = pa.table({"left_id": [1], "options": [option], "query": [{"name": "a", "town": None}], "answer": [1]})
    (label,) = good_labels(table)
    assert label.options == (("shop", "2"), ("", "3"))
    assert (label.query, label.records) == ('{"name":"a"}', ('{"name":"b","price":"2.5"}', None))
    as_json = table.set_column(1, "options", pa.array([json.dumps(option)]))
    assert good_labels(as_json)[0].options == label.options
    assert good_labels(as_json)[0].records == label.records
    texts = [[{"id": 2, "record": record_text({"name": "b"})}]]
    assert good_labels(table.set_column(1, "options", pa.array(texts)))[0].records == ('{"name":"b"}',)


def test_other_columns_are_passed_over() -> None:
    odd = pa.array([{"x": [1]}], pa.struct([("x", pa.list_(pa.int64()))]))
    assert read({"left_id": [1], "right_id": [2], "created_at": ["yesterday"], "note": odd, "agreement": [0.5]}) == [
        ("1", ("2",), 1)
    ]


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        ({"note": [1], "left_id": [1]}, "right_id (or options)"),
        ({"right_id": [1]}, "left_id"),
        ({"teacher": ["x"]}, "left_id and right_id (or options)"),
        ({"left_id": [1], "options": [[1]]}, "choice (or answer, or right_id)"),
        ({"options": [[1]]}, "left_id and choice (or answer, or right_id)"),
    ],
)
def test_missing_columns_are_named_all_at_once(columns: dict[str, object], missing: str) -> None:
    with pytest.raises(LabelError) as error:
        read(columns)
    assert f"lack the column{'s' * missing.count(' and ')} {missing}; they have" in str(error.value)


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("choice", [[1]], "a whole number, 0 = none of the options"),
        ("options", [7], "a list of ids, or of structs"),
        ("options", [[{"record": "x"}], [{"name": "x"}]][1:], "a list of ids, or of structs"),
        ("options", [[[1]]], "a list of ids, or of structs"),
        ("probabilities", [0.5], "a list of numbers, one for each option"),
        ("query", [7], "a record, as a struct or as text"),
        ("confidence", [{"a": 1}], "a number from 0 to 1"),
        ("teacher", [["x"]], "a text"),
    ],
)
def test_a_column_of_another_type_is_a_sentence(name: str, values: list[object], wanted: str) -> None:
    columns = {"left_id": [1], "right_id": [2], "choice": [1], **{name: values}}
    with pytest.raises(LabelError, match=f"the labels' column {name} is .*; it must be {wanted}"):
        read(columns)


def test_a_column_of_nothing_may_be_of_any_type() -> None:
    nothing = pa.array([None], pa.int32())
    assert read({"left_id": [1], "right_id": [2], "probabilities": nothing, "teacher": ["x"], "query": nothing}) == [
        ("1", ("2",), 1)
    ]


def test_a_column_that_is_there_twice_is_named() -> None:
    with pytest.raises(LabelError, match="the column left_id twice"):
        read({"left_id": [1], "LEFT_ID": [1], "right_id": [2]})


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"answer": [3, 0]}, "row 1: answer 3 is out of range: it has 2 options, and 0 is none"),
        ({"answer": [0, -1]}, "row 2: answer -1 is out of range"),
        ({"answer": [1.5, 0]}, "row 1: answer '1.5' is no whole number"),
        ({"answer": ["[1]", "0"]}, "row 1: answer '[1]' is no whole number"),
        ({"answer": ["true", "0"]}, "row 1: answer 'true' is no whole number"),
        ({"right_id": [11, 12]}, "row 2: answer 0 and right_id '12' contradict"),
        ({"answer": [None, None], "right_id": ["NA", None]}, "row 1: right_id 'NA' is not among the options"),
        ({"options": ["[10, 11]", "10;11"]}, "row 2: options is no JSON list"),
        ({"options": [[10, 11], None]}, "row 2: options is NULL"),
        ({"options": ["[1, null]", "[2]"]}, "row 1: options must be a list of ids"),
        ({"options": ["[[1, 2], [3]]", "[2]"]}, "row 1: options must be a list of ids"),
        ({"options": ['[{"id": {"x": 1}}, {"id": 2}]', "[2]"]}, "row 1: an id in options is a list or a mapping"),
        ({"options": ['[{"id": 1}, {"id": [2]}]', "[2]"]}, "row 1: an id in options is a list or a mapping"),
        ({"left_id": [None, 2]}, "row 1: left_id is NULL"),
        ({"teacher": ["", "x"]}, "row 1: teacher is empty"),
        ({"confidence": [2.0, None]}, "row 1: confidence '2' is not between 0 and 1"),
        ({"confidence": ["high", None]}, "row 1: confidence 'high' is not between 0 and 1"),
        ({"probabilities": [[0.5], None]}, "row 1: probabilities has 1 value for 2 options"),
        ({"probabilities": [[0.5, 7], None]}, "row 1: probabilities '7' is not between 0 and 1"),
        ({"explanations": [["x"], None]}, "row 1: explanations has 1 value for 2 options"),
        ({"ask": ["pick", None]}, "row 1: ask is 'pick'; it must be one of select, match, justify"),
        ({"answer": [None, 0], "is_match": [1, None]}, "row 1: is_match '1' is neither 1 nor 0"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_read(columns: dict[str, object], problem: str) -> None:
    labels, problems = read_labels(pa.table({**ROWS, "answer": [2, 0], **columns}))
    assert len(labels) == 1
    assert [each[: len(problem)] for each in problems] == [problem]


def test_a_record_that_is_no_row_is_a_text_and_a_count_that_is_no_number_is_none() -> None:
    options = [[{"id": "1", "record": "B"}, {"id": "2", "record": "3"}]]
    spoilt = {"label_key": ["k"], "prompt_version": ["1"], "parameters": ["{}"], "chosen": ["inf"]}
    labels, problems = read_labels(pa.table({"left_id": ["a"], "options": options, "choice": [1], **spoilt}))
    assert problems == []
    assert labels[0].asked is not None
    assert labels[0].asked.chosen is None
    numbers = [json.dumps([{"id": "1", "record": {"n": "B"}}, {"id": "2", "record": 3}])]
    (label,), _ = read_labels(pa.table({"left_id": ["a"], "options": numbers, "choice": [1]}))
    assert label.records == ('{"n":"B"}', "3")


@pytest.mark.parametrize("answer", ["2", "maybe", "0.5", "1.5"])
def test_a_pair_is_a_match_or_not(answer: str) -> None:
    labels, problems = read_labels(pa.table({"left_id": [1], "right_id": [2], "is_match": [answer]}))
    assert labels == []
    assert problems[0].startswith(f"row 1: is_match {answer!r} is neither 1 nor 0")


def test_a_right_id_of_nobody_says_nothing() -> None:
    _, problems = read_labels(pa.table({"left_id": [1], "right_id": pa.array([None], pa.string())}))
    assert problems == ["row 1: right_id is NULL and there are no options, so it says nothing of any pair"]


def test_of_options_of_several_sources_the_right_one_is_named() -> None:
    options = [[{"source": "a", "id": 1}, {"source": "b", "id": 1}]]
    _, problems = read_labels(pa.table({"left_id": [1], "options": options, "right_id": [1]}))
    assert "name its right_source" in problems[0]
    assert read({"left_id": [1], "options": options, "right_id": [1], "right_source": ["b"]})[0][2] == 2


def test_ids_of_any_type() -> None:
    one, two = uuid.uuid4(), uuid.uuid4()
    ids = ['O\'Neil "x"', "007"]
    assert read({**ROWS, "left_id": ids, "options": [[str(one), str(two)], ["a\nb"]], "answer": [1, 1]}) == [
        (ids[0], (str(one), str(two)), 1),
        ("007", ("a\nb",), 1),
    ]
    assert read({"left_id": [2**60], "right_id": [12.0]}) == [(str(2**60), ("12",), 1)]


HOSTILE = [
    "NA",
    "null",
    "NaN",
    "",
    "007",
    "1e5",
    "0.10",
    str(2**60),
    " 7 ",
    '"',
    "a,b;c\td|e",
    "x\ny",
    "u\u2028\x85v",
    "true",
]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_ids_are_as_they_are_written_in_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"labels{suffix}"
    rows = [{"left_id": value, "right_id": value, "is_match": i % 2} for i, value in enumerate(HOSTILE)]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".csv":
        csv.write_csv(pa.Table.from_pylist(rows), file)
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        file.write_text("\ufeff" + ("\n".join(lines) + "\n" if suffix == ".jsonl" else f"[{','.join(lines)}]"))
    labels = good_labels(read_table(file))
    assert [said(label) for label in labels] == [(v, (v,), i % 2) for i, v in enumerate(HOSTILE)]


def test_numbers_in_json_keep_their_spelling(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text(
        '{"left_id": 1e5, "options": [0.10, 7, 1152921504606846976], "answer": 1}\n'
        '{"left_id": "x", "options": ["0.10"], "answer": true, "other": {"a": 1}}\n'
    )
    labels = good_labels(read_table(tmp_path / "labels.jsonl"))
    assert [said(label) for label in labels] == [
        ("1e5", ("0.10", "7", "1152921504606846976"), 1),
        ("x", ("0.10",), 1),
    ]


def test_an_id_na_without_an_answer_is_an_id_and_an_empty_cell_is_none(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text('left_id,options,right_id\n1,"[""NA"",""b""]",NA\n2,"[""NA"",""b""]",\n3,"["""",""b""]",""\n')
    assert [label.choice for label in good_labels(read_table(file))] == [1, 0, 1]


def answers(labels: list[Label]) -> list[Any]:
    return [said(label) for label in labels]


@pytest.mark.parametrize("key", [{"x": 1}, [1]])
def test_an_id_in_options_is_one_value(key: object) -> None:
    table = pa.table({"left_id": [1], "options": [[{"id": key}]], "answer": [1]})
    with pytest.raises(LabelError, match="it must be a list of ids, or of structs with the fields"):
        good_labels(table)
