"""Students on generated pairs of odd values: a probability or none, never a crash, whichever record comes first."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distiller_udf.records import Records
from distiller_udf.scoring import score_batch, score_records
from distiller_udf.students import load_student
from distiller_udf.students.base import Student
from distiller_udf.training.train import train
from tests.conftest import People, label_table, make_people
from tests.tiny_encoder import save_tiny_encoder

PAIRS = 100
COLUMNS = ("name", "town", "born", "price", "about")

ODD = [
    *("", " ", "\x00", "\t\n\r", "\x1b[31m", "\u200b", "\ufeff", "\u202eabc", "\ud83d", "\udfff\ud83d x", "\U0010ffff"),
    *(
        "🎉",
        "👩‍👩‍👧‍👦 🎉🎉",
        "é",
        "e\u0301",
        "ﬃ",
        "İ",
        "ß",
        "ǆ",
        "李小龙",
        "हिन्दी",
        "א" * 50,
        "١٢٣",
        "１２３",
        "²",
        "Ⅷ",
    ),
    *("null", "NaN", "nan", "inf", "-inf", "1e400", "-0", "0", "00", "1.", ".1", "1,2,3", "9" * 400, "0x10", "1_000"),
    *("1999-02-30", "0000-00-00", "9999-12-31", "31.12.1999", "19991231", "12/31/1999", "1999", "2020-01-01T25:00"),
    *("'; drop table x; --", '"', "\\", "{}", "[]", '{"a":1}', "%s", "{0}", "<b>", "-", "--", "/", "...", "a-b/c.d"),
    *("[CLS]", "[SEP] [PAD]", "##ing", "x" * 30_000, "word " * 5_000, "ab " * 40, "🎉" * 3_000, "a\u0300" * 500),
]
PLAIN = [
    "anna adler",
    "anna adlre",
    "bonn",
    "bonn ",
    "BONN",
    "1990-01-02",
    "12.50",
    "fine turntable",
    "fine turntable x",
]

values = st.one_of(
    st.none(),
    st.sampled_from(ODD),
    st.sampled_from(PLAIN),
    st.text(max_size=30),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Mn", "So"]), max_size=12),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.datetimes(),
    st.decimals(allow_nan=True),
    st.binary(max_size=8),
    st.lists(st.text(max_size=4), max_size=3),
)


def odd_records(drawn: Sequence[object], seed: int, count: int) -> Records:
    """Records whose values are drawn from a few; some columns of theirs are empty, so that some records are."""
    rng = np.random.default_rng(seed)
    rows = [
        {name: drawn[rng.integers(len(drawn))] if rng.random() < 0.7 else None for name in COLUMNS}
        for _ in range(count)
    ]
    for row in rng.permutation(count)[: count // 20]:
        rows[row] = dict.fromkeys(COLUMNS)
    return Records.from_dicts(rows).with_columns(COLUMNS)


def check(student: Student, drawn: Sequence[object], seed: int, count: int) -> None:
    left, right = (odd_records(drawn, seed + side, count) for side in (0, 1))
    same = np.random.default_rng(seed).random(count) < 0.2
    rows = np.where(same, np.arange(count), count + np.arange(count))
    both = Records.from_dicts([*left.to_dicts(), *right.to_dicts()]).with_columns(COLUMNS)
    right = both.take(rows)
    found = student.score(left, right)
    assert found.shape == (count,)
    np.testing.assert_array_equal(np.isnan(found), left.empty | right.empty)
    known = found[~np.isnan(found)]
    assert ((known >= 0) & (known <= 1)).all()
    np.testing.assert_array_equal(student.score(right, left), found)
    some = np.random.default_rng(seed).permutation(count)[:7]
    np.testing.assert_array_equal(student.score(left.take(some), right.take(some)), found[some])
    tuples = np.arange(count) // 6
    probabilities, choices = score_records(student, left, right, tuples)
    np.testing.assert_array_equal(probabilities, found)
    np.testing.assert_array_equal(np.isnan(choices), np.isnan(found))
    assert np.nanmax(choices, initial=0.0) <= 1
    assert np.nanmin(choices, initial=1.0) >= 0


def wide(count: int) -> People:
    """People who also have a price and a text, with gaps."""
    people = make_people(count)
    more = [
        {
            "price": None if i % 5 == 0 else f"{9 + i}.{i % 10}0",
            "about": None if i % 7 == 0 else " ".join(["fine", "sound", "deep", "bass"][: 1 + i % 4]) + f" model {i}",
        }
        for i in range(count)
    ]
    sides = ([{**p, **m} for p, m in zip(side, more, strict=True)] for side in (people.left, people.right))
    return People(*sides)


@pytest.fixture(scope="module")
def lexical(tmp_path_factory: pytest.TempPathFactory) -> Student:
    folder = tmp_path_factory.mktemp("odd") / "lexical"
    train("lexical", label_table(wide(60)), folder, settings={"rounds": 10, "folds": 3})
    return load_student(folder)


@pytest.fixture(scope="module")
def blend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    if find_spec("torch") is None or find_spec("transformers") is None:
        pytest.skip("needs distiller-udf[encoder]")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root: Path = tmp_path_factory.mktemp("odd")
    save_tiny_encoder(root / "bert")
    chosen = {"rounds": 10, "folds": 3, "encoder": str(root / "bert"), "local_only": True}
    train("blend", label_table(wide(40)), root / "blend", settings=chosen)
    yield load_student(root / "blend")
    torch.set_num_threads(threads)


def drawn_values() -> st.SearchStrategy[list[object]]:
    return st.lists(values, min_size=8, max_size=24)


relaxed = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=relaxed, derandomize=True)
@given(drawn_values(), st.integers(0, 2**31))
def test_ten_thousand_odd_pairs_have_a_probability_or_none(lexical: Student, drawn: list[object], seed: int) -> None:
    check(lexical, drawn, seed, PAIRS)


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=relaxed, derandomize=True)
@given(drawn_values(), st.integers(0, 2**31))
def test_odd_pairs_have_a_probability_by_the_blend_too(blend: Student, drawn: list[object], seed: int) -> None:
    check(blend, drawn, seed, 40)


@pytest.mark.parametrize("kind", ["lexical", "blend"])
def test_every_odd_value_against_every_other(kind: str, request: pytest.FixtureRequest) -> None:
    student: Student = request.getfixturevalue(kind)
    some = [*ODD, *PLAIN] if kind == "lexical" else ODD[::4]
    rows = [{**dict.fromkeys(COLUMNS), "name": a, "price": b} for a in some for b in some]
    left = Records.from_dicts(rows).with_columns(COLUMNS)
    right = left.take(np.arange(len(left))[::-1].copy())
    found = student.score(left, right)
    np.testing.assert_array_equal(np.isnan(found), left.empty | right.empty)
    assert np.isnan(found).any()
    assert 0 <= np.nanmin(found) <= np.nanmax(found) <= 1
    np.testing.assert_array_equal(student.score(right, left), found)


@settings(max_examples=25, suppress_health_check=relaxed, derandomize=True)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.none(), min_size=1, max_size=20))
def test_text_and_structs_from_arrow(lexical: Student, texts: list[str | None]) -> None:
    structs = pa.array([dict.fromkeys(COLUMNS, text) for text in texts])
    plain = pa.array(texts, pa.string())
    for left, right in ((structs, structs), (plain, structs), (plain, plain)):
        scored = score_batch(lexical, pa.record_batch({"left": left, "right": right}))
        empty = Records.from_arrow(left).empty | Records.from_arrow(right).empty
        assert [p is None for p in scored["probability"].to_pylist()] == empty.tolist()
        assert [m is None for m in scored["is_match"].to_pylist()] == empty.tolist()
        assert all(0 <= p <= 1 for p in scored["probability"].to_pylist() if p is not None)


@pytest.mark.parametrize("kind", ["lexical", "blend"])
def test_values_of_every_type_in_one_record(kind: str, request: pytest.FixtureRequest) -> None:
    student: Student = request.getfixturevalue(kind)
    row = {
        "name": 7,
        "town": b"\xff\x00",
        "born": datetime.date(1990, 1, 2),
        "price": Decimal("12.50"),
        "about": ["a", None],
    }
    records = Records.from_dicts([row, {**row, "price": float("nan"), "born": datetime.datetime(1990, 1, 2)}])
    found = student.score(records, records.take(np.asarray([1, 0])))
    assert ((found >= 0) & (found <= 1)).all()
    assert found[0] == found[1]
