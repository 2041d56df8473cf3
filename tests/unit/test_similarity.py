"""Similarity features: column matching by values, typed comparisons, symmetry, and data that is out of the ordinary."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller_udf.records import Records
from distiller_udf.similarity import PairFeatures, match_columns
from distiller_udf.similarity.columns import MAX_COMPARISONS
from distiller_udf.similarity.quantities import parse_date, parse_quantity
from distiller_udf.similarity.vectors import UNSEEN, Rarity, ValueCache
from distiller_udf.similarity.words import GRAM_BITS, fold, grams, tokens
from tests.conftest import make_people

FILMS = ["the long night", "a quiet river", "red mountain", "seven doors", "glass city", "the last ferry"]
ACTORS = ["mara lindt", "tom ferber", "ada kirsch", "leo brandt", "ina sommer", "jan winter"]


def column(features: PairFeatures, matrix: np.ndarray, name: str) -> np.ndarray:
    return matrix[:, features.names.index(name)]


def catalogue(repeats: int = 20) -> tuple[Records, Records]:
    """Films and people, under other column names on each side; pairs alternate between match and non-match."""
    left, right = [], []
    for i in range(repeats * len(FILMS)):
        k, j = i % len(FILMS), (i + i % 2) % len(FILMS)
        year = str(1950 + i % 60)
        left += [{"title": f"{FILMS[k]} {i}", "startYear": year}, {"name": f"{ACTORS[k]} {i}"}]
        released = f"{year if k == j else 1900 + i % 49}-05-0{1 + i % 9}"
        right += [{"label": f"{FILMS[j]} {i}", "released": released}, {"person": f"{ACTORS[j]} {i}"}]
    return Records.from_dicts(left), Records.from_dicts(right)


def test_tokens_see_a_model_code_with_and_without_separators() -> None:
    assert tokens(fold("Sony DSC-W120/B 7.2 MP")) == {
        *("sony", "dsc", "w120", "b", "dscw120b", "120", "7", "2", "7.2", "mp")
    }


def test_folding_drops_case_and_accents() -> None:
    assert fold("Straße ÉCOLE") == "strasse ecole"


@pytest.mark.parametrize(
    ("value", "number"),
    [("$1,299.00", 1299.0), ("12,5", 12.5), ("1.5e3", 1500.0), ("-3", -3.0), ("40 EUR", 40.0), ("0042", 42.0)],
)
def test_numbers_are_read_as_people_write_them(value: str, number: float) -> None:
    assert parse_quantity(value).number == number


@pytest.mark.parametrize("value", ["", "abc", "1-2", "1.2.3", "nan", "inf", "9" * 30])
def test_what_is_no_number_is_nan(value: str) -> None:
    assert np.isnan(parse_quantity(value).number)


def test_dates_in_several_spellings_agree() -> None:
    spellings = ["1999-05-13", "1999/5/13", "13.05.1999", "19990513", "1999-05-13 00:00:00"]
    assert len({parse_date(s) for s in spellings}) == 1
    assert parse_date("1999")[0] == 1999.0
    assert np.isnan(parse_date("1999")[1])
    assert np.isnan(parse_date("soon")[0])


def test_grams_of_a_batch_equal_grams_of_each_text() -> None:
    texts = ["turntable", "", "a", "emoji 🎉🎉", "turntable"]
    buckets, offsets = grams(texts)
    for i, text in enumerate(texts):
        alone, _ = grams([text])
        assert buckets[offsets[i] : offsets[i + 1]].tolist() == alone.tolist()


def test_texts_too_short_for_grams_have_none() -> None:
    buckets, offsets = grams(["", ""])
    assert len(buckets) == 0
    assert offsets.tolist() == [0, 0, 0]


def test_token_overlap_and_cosines_match_their_definitions() -> None:
    documents = ["sony turntable ps lx250", "sony turntable", "bose speaker", "bose turntable"]
    rarity = Rarity.fit(documents)
    idf = rarity.tokens
    cache = ValueCache(rarity)
    rows = cache.rows([*documents, "sony radio"])
    overlap = cache.token_overlap(rows[[0, 4]], rows[[1, 2]])
    only_left = {"ps", "lx250", "250"}
    assert overlap["lacked_left"][0] == sum(idf[t] ** 2 for t in only_left)
    assert overlap["lacked_right"].tolist() == [0.0, idf["bose"] ** 2 + idf["speaker"] ** 2]
    assert overlap["rarest_left"].tolist() == [idf["lx250"], UNSEEN]
    assert overlap["digit_lacked_left"].tolist() == [idf["lx250"] ** 2 + idf["250"] ** 2, 0.0]
    assert np.ravel(cache.gram_overlap(rows[:1], rows[:1])) == pytest.approx(np.ones(3), abs=1e-6)


def test_tokens_and_grams_weigh_what_their_definition_says() -> None:
    rarity = Rarity.fit(["sony turntable", "sony radio", "sony"])
    expected = {n: np.log(5 / (n + 1)) / np.log(5) for n in (1, 3)}
    assert rarity.of("radio") == pytest.approx(expected[1], abs=1 / 4096)
    assert rarity.of("sony") == pytest.approx(expected[3], abs=1 / 4096)
    assert rarity.of("never") == UNSEEN
    seen, _ = grams(["sony"])
    assert rarity.grams[seen] == pytest.approx(np.full(len(seen), expected[3]), abs=1 / 4096)
    rest = np.ones(len(rarity.grams), dtype=bool)
    rest[grams(["sony turntable", "sony radio"])[0]] = False
    assert (rarity.grams[rest] == UNSEEN).all()


def test_no_documents_leave_everything_unseen() -> None:
    rarity = Rarity.fit([])
    assert rarity.of("x") == UNSEEN
    assert (rarity.grams == UNSEEN).all()


def test_grams_overlap_by_weight() -> None:
    """`ann` and `anne` share " an" and "ann"; a shared rare gram counts for more than a shared common one."""
    plain = Rarity({}, np.full(1 << GRAM_BITS, UNSEEN, dtype=np.float32))
    cache = ValueCache(plain)
    cosine, in_left, in_right = cache.gram_overlap(*cache.rows(["ann", "anne"]).reshape(2, 1))
    assert in_left.tolist() == pytest.approx([2 / 3])  # " an", "ann", "nn "
    assert in_right.tolist() == pytest.approx([2 / 4])  # " an", "ann", "nne", "ne "
    assert cosine.tolist() == pytest.approx([(2 / 3 * 2 / 4) ** 0.5])
    weights = plain.grams.copy()
    weights[grams(["annx"])[0][np.isin(grams(["annx"])[0], grams(["anny"])[0])]] = 0.5
    cache = ValueCache(Rarity({}, weights))
    weighed = cache.gram_overlap(*cache.rows(["ann", "anne"]).reshape(2, 1))
    assert weighed[1].tolist() == pytest.approx([2 * 0.25 / (2 * 0.25 + 1)])
    assert weighed[2].tolist() == pytest.approx([2 * 0.25 / (2 * 0.25 + 2)])
    swapped = cache.gram_overlap(*cache.rows(["anne", "ann"]).reshape(2, 1))
    assert swapped[0].tolist() == weighed[0].tolist()
    assert [swapped[1].tolist(), swapped[2].tolist()] == [weighed[2].tolist(), weighed[1].tolist()]


def test_texts_without_grams_share_none() -> None:
    cache = ValueCache(Rarity.fit(["sony"]))
    rows = cache.rows(["", "sony"])
    for left, right in ((0, 0), (0, 1), (1, 0)):
        assert np.ravel(cache.gram_overlap(rows[[left]], rows[[right]])).tolist() == [0.0, 0.0, 0.0]


def test_a_saved_rarity_is_the_same(tmp_path: Path) -> None:
    rarity = Rarity.fit(["sony turntable", "bose", "李小龙 sony"])
    rarity.save(tmp_path)
    loaded = Rarity.load(tmp_path)
    assert loaded.tokens == rarity.tokens
    np.testing.assert_array_equal(loaded.grams, rarity.grams)


def test_rarity_does_not_depend_on_the_order_of_the_documents() -> None:
    documents = [f"word{i % 7} thing{i % 3} {i}" for i in range(2500)]
    one, other = Rarity.fit(documents), Rarity.fit(documents[::-1])
    assert one.tokens == other.tokens
    np.testing.assert_array_equal(one.grams, other.grams)


def test_codes_overlap_where_no_token_is_equal() -> None:
    cache = ValueCache(Rarity.fit([]))
    rows = cache.rows(["ear buds mdr-ex55/blk", "sony mdrex55bk", "no code"])
    left, right = cache.code_overlap(rows[[0, 0]], rows[[1, 2]])
    assert left[0] == 7 / 10  # " mdrex55blk " against " mdrex55bk "
    assert right[0] == 7 / 9
    assert np.isnan(left[1])


def test_columns_are_matched_by_their_values_not_their_names() -> None:
    features = PairFeatures.fit(*catalogue())
    found = {(c.kind, c.left, c.right) for c in features.comparisons}
    assert ("date", "startYear", "released") in found
    name = next(c for c in features.comparisons if c.kind == "name")
    assert set(name.left_columns) == {"title", "name"}
    assert set(name.right_columns) == {"label", "person"}


def test_a_record_may_carry_its_name_in_another_column() -> None:
    features = PairFeatures.fit(*catalogue())
    left = Records.from_dicts([{"title": "glass city 5"}, {"title": "glass city 5"}])
    right = Records.from_dicts([{"person": "glass city 5"}, {"person": "tom ferber 1"}])
    name = next(c for c in features.comparisons if c.kind == "name")
    cosine = column(features, features.transform(left, right), f"{name.label}:token_cosine")
    assert cosine[0] == 1.0
    assert cosine[1] == 0.0


def test_features_are_symmetric_when_both_sides_share_their_columns() -> None:
    people = make_people(60)
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right[1:] + people.right[:1])
    features = PairFeatures.fit(left, right)
    np.testing.assert_array_equal(features.transform(left, right), features.transform(right, left))


def test_columns_in_another_order_on_the_other_side_change_nothing() -> None:
    people = make_people(60)
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right)
    features = PairFeatures.fit(left, right.with_columns(["born", "town", "name"]))
    assert all(c.left_columns == c.right_columns for c in features.comparisons)
    np.testing.assert_array_equal(features.transform(left, right), features.transform(right, left))


def test_equal_pairs_get_equal_features_whatever_was_seen_before() -> None:
    people = make_people(60)
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right)
    features = PairFeatures.fit(left, right)
    whole = features.transform(left, right)
    alone = PairFeatures.fit(left, right)
    for i in (59, 3, 31):
        row = alone.transform(left.take(np.asarray([i])), right.take(np.asarray([i])))
        np.testing.assert_array_equal(row[0], whole[i])


def test_saved_features_are_the_same_features(tmp_path: Path) -> None:
    left, right = catalogue(5)
    features = PairFeatures.fit(left, right)
    features.save(tmp_path / "similarity")
    loaded = PairFeatures.load(tmp_path / "similarity")
    assert loaded.names == features.names
    assert loaded.comparisons == features.comparisons
    np.testing.assert_array_equal(loaded.transform(left, right), features.transform(left, right))
    assert {p.suffix for p in (tmp_path / "similarity").iterdir()} == {".json", ".parquet"}


def test_a_full_cache_starts_afresh_and_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    people = make_people(60)
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right)
    features = PairFeatures.fit(left, right)
    before = features.transform(left, right)
    monkeypatch.setattr("distiller_udf.similarity.vectors.MAX_CACHED_ENTRIES", 10)
    np.testing.assert_array_equal(features.transform(left, right), before)


def test_null_columns_leave_their_comparison_open() -> None:
    people = make_people(60)
    left, right = Records.from_dicts(people.left), Records.from_dicts(people.right)
    features = PairFeatures.fit(left, right)
    matrix = features.transform(Records.from_dicts([{"name": "anna adler"}]), Records.from_dicts([people.right[0]]))
    assert np.isnan(column(features, matrix, "town:ratio")).all()
    assert not np.isnan(column(features, matrix, "record:token_cosine")).any()


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": "x"}],
        [{"a": None}],
        [{}],
        [{"a": "same", "b": "same"}] * 5,
        [{"naïve column; drop table": "🎉 party", "": "y"}] * 3,
        [{"a": "word " * 4000}, {"a": "z" * 20_000}],
        [{"a": "１２３", "b": "²"}, {"a": "---", "b": "//"}],
    ],
)
def test_unusual_records_still_give_features(rows: list[dict[str, str | None]]) -> None:
    records = Records.from_dicts(rows)
    features = PairFeatures.fit(records, records)
    matrix = features.transform(records, records)
    assert matrix.shape == (len(rows), len(features.names))
    assert matrix.dtype == np.float32
    assert not np.isinf(matrix).any()


def test_sides_without_comparable_columns_are_compared_as_a_whole() -> None:
    left = Records.from_dicts([{"price": str(i)} for i in range(30)])
    right = Records.from_dicts([{"colour": f"shade number {i * 7}"} for i in range(30)])
    features = PairFeatures.fit(left, right)
    assert features.comparisons[0].kind == "record"
    assert features.transform(left, right).shape[0] == 30


def shops(count: int = 120) -> tuple[list[dict[str, str | None]], list[dict[str, str | None]]]:
    """People in two tables of other columns: a name in two, a telephone that one side writes as a number."""
    people, rng = make_people(count), random.Random(5)
    left, right = [], []
    for i, (one, other) in enumerate(zip(people.left, people.right, strict=True)):
        first, last = str(one["name"]).split(" ")
        phone = f"{rng.randint(20_000_000, 99_999_999)}"
        left.append({"first": first, "last": last, "born": one["born"], "phone": f"+49 30 {phone[:4]}-{phone[4:]}"})
        right.append({"full_name": other["name"], "birthday": other["born"], "tel": phone})
        if i % 3 == 0:  # a candidate that is no match
            right[-1] |= {"birthday": str(rng.randint(1940, 2000)), "tel": f"{rng.randint(20_000_000, 99_999_999)}"}
    return left, right


def test_a_value_that_is_split_or_of_another_kind_has_a_partner() -> None:
    matching = match_columns(*map(Records.from_dicts, shops()))
    assert matching.alone == ((), ())
    assert matching.warning() is None
    compared = {(c.left, c.right) for c in matching.comparisons}
    assert {("first", "full_name"), ("last", "full_name"), ("phone", "tel")} <= compared


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), kinds=st.lists(st.sampled_from(["word", "number", "text"]), min_size=1, max_size=3))
def test_columns_without_a_partner_are_in_no_feature(seed: int, kinds: list[str]) -> None:
    rng = random.Random(seed)

    def drawn(kind: str) -> str | None:
        if rng.random() < 0.1:
            return None
        letters = ["".join(rng.choices("qxyzvwk", k=rng.randint(4, 9))) for _ in range(12 if kind == "text" else 1)]
        return str(rng.randint(1, 10**6)) if kind == "number" else " ".join(letters)

    left, right = shops()
    before = PairFeatures.fit(Records.from_dicts(left), Records.from_dicts(right))
    wider = [row | {f"own{i}": drawn(kind) for i, kind in enumerate(kinds)} for row in left]
    sides = Records.from_dicts(wider), Records.from_dicts(right)
    after = PairFeatures.fit(*sides)
    assert after.comparisons == before.comparisons
    np.testing.assert_array_equal(
        after.transform(*sides), before.transform(Records.from_dicts(left), Records.from_dicts(right))
    )
    assert match_columns(*sides).alone == (tuple(f"own{i}" for i in range(len(kinds))), ())


def test_what_nobody_compares_is_named_with_what_it_might_go_with() -> None:
    left, right = shops()
    left = [row | {"fax": f"f{i * 7919 % 1000}q", "remarks": f"day {i}: {i * 7} pieces"} for i, row in enumerate(left)]
    right = [row | {"remark": f"{chr(97 + i % 26)}{i * 31 % 100}z"} for i, row in enumerate(right)]
    matching = match_columns(Records.from_dicts(left), Records.from_dicts(right))
    said = "nobody compares left: fax, remarks; right: remark (remarks might go with remark)"
    assert matching.warning() == said


def test_comparisons_for_which_there_is_no_room_are_named() -> None:
    rows = [{f"c{n:02}": f"value {i * n}" for n in range(1, MAX_COMPARISONS + 4)} for i in range(20)]
    records = Records.from_dicts(rows)
    matching = match_columns(records, records)
    assert len(matching.crowded) == 2
    assert matching.warning() == "compared as a part of the whole record alone: " + ", ".join(
        c.label for c in matching.crowded
    )


def test_no_rows_give_no_rows() -> None:
    left, right = catalogue(2)
    features = PairFeatures.fit(left, right)
    none = np.zeros(0, dtype=np.int64)
    assert features.transform(left.take(none), right.take(none)).shape == (0, len(features.names))


def test_plain_text_is_compared_as_a_whole() -> None:
    left, right = catalogue()
    features = PairFeatures.fit(left, right)
    matrix = features.transform(Records.from_texts(["glass city 5"]), right.take(np.asarray([9])))
    assert np.isfinite(column(features, matrix, "record:gram_cosine")).all()


def test_nested_values_are_compared_by_their_leaves_in_any_order() -> None:
    def rows(turn: int) -> Records:
        lists = [[f"tag{i} x", f"number{i}", None] for i in range(40)]
        return Records.from_dicts(
            [
                {"tags": words[turn:] + words[:turn], "place": {"street": None, "town": f"oslo {i % 7}"}, "none": [{}]}
                for i, words in enumerate(lists)
            ]
        )

    features = PairFeatures.fit(rows(0), rows(0))
    matrix = features.transform(rows(0), rows(1))
    np.testing.assert_array_equal(matrix, features.transform(rows(0), rows(0)))
    assert not {"street", "town", "null", "place"} & features.rarity.tokens.keys()
    assert not any(name.startswith("none") for name in features.names)
