"""Explanations: contributions of columns and words that add up to the score, and the sentence that says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from distiller_udf.records import Records
from distiller_udf.similarity.columns import Comparison
from distiller_udf.students import load_student
from distiller_udf.students.explain import (
    ColumnShare,
    Explanation,
    LogOdds,
    WordShare,
    column_groups,
    contributions,
    explanations,
)
from distiller_udf.students.explain.clues import MAX_CLUES, Clue, find_clues
from distiller_udf.students.explain.sentence import MAX_CHARACTERS
from distiller_udf.students.explain.shares import MAX_TEXT
from distiller_udf.students.kinds import LexicalStudent
from distiller_udf.students.odds import logit
from tests.conftest import People

Row = dict[str, str | None]


@pytest.fixture(scope="module")
def student(student_folder: Path) -> LexicalStudent:
    loaded = load_student(student_folder)
    assert isinstance(loaded, LexicalStudent)
    return loaded


def sides(people: People, shift: int = 0) -> tuple[Records, Records]:
    return Records.from_dicts(people.left), Records.from_dicts(people.right[shift:] + people.right[:shift])


def strange(people: People) -> tuple[Records, Records]:
    """Gaps on either side or both, words without letters, quotes, unseen scripts, and very long values."""
    values = [
        None,
        "!!! --- !!!",
        'the "great" o\\neil',
        "\u202eanna\u200b bruno\u0007",
        "李小龙 Straße ΑΒΓ हिन्दी",
        "x" * 30_000,
        " ".join(f"word{i % 700} bonn" for i in range(4000)),
        "a/b/c-d.e 1.5 1950-01-02 1/2 …",
    ]
    rows: list[Row] = [{**people.left[i], "name": value} for i, value in enumerate(values)]
    rows += [{**people.left[i], "town": value} for i, value in enumerate(values)]
    rows += [{"name": value, "town": None, "born": None} for value in values[1:]]
    left = Records.from_dicts(rows)
    rng = np.random.default_rng(5)
    pairs = rng.integers(len(rows), size=(60, 2))
    return left.take(pairs[:, 0]), left.take(pairs[:, 1])


def check_sums(student: LexicalStudent, left: Records, right: Records) -> None:
    """Baseline and columns give the log odds of the score, every column's words give the column."""
    found = student.explanations(left, right)
    assert len(found) == len(left)
    for explanation, score in zip(found, logit(student.score(left, right)), strict=True):
        assert explanation is not None
        total = explanation.baseline + sum(column.value for column in explanation.columns)
        assert total == pytest.approx(score, abs=1e-6)
        assert explanation.log_odds == pytest.approx(score, abs=1e-6)
        for column in explanation.columns:
            assert sum(word.value for word in column.words) == pytest.approx(column.value, abs=1e-6)


# Columns


def test_contributions_add_up_to_the_score(student: LexicalStudent, people: People) -> None:
    for left, right in (sides(people), sides(people, 1)):
        labels, parts = student.contributions(left, right)
        assert labels == [*student.info.left_columns, "baseline"]
        np.testing.assert_allclose(parts.sum(axis=1), logit(student.score(left, right)), atol=1e-6)


def test_contributions_depend_on_neither_the_order_nor_the_batch(student: LexicalStudent, people: People) -> None:
    left, right = sides(people, 1)
    _, whole = student.contributions(left, right)
    np.testing.assert_allclose(student.contributions(right, left)[1], whole, atol=1e-9)
    some = np.asarray([5, 3])
    np.testing.assert_allclose(student.contributions(left.take(some), right.take(some))[1], whole[some], atol=1e-9)


def test_a_column_without_values_contributes_nothing(student: LexicalStudent, people: People) -> None:
    rows = [{**person, "town": None} for person in people.left[:5]]
    labels, parts = student.contributions(Records.from_dicts(rows), Records.from_dicts(rows))
    np.testing.assert_allclose(parts[:, labels.index("town")], 0, atol=1e-9)


def test_an_empty_record_has_no_contributions(student: LexicalStudent, people: People) -> None:
    left = Records.from_dicts([people.left[0], {"name": None, "town": None, "born": None}])
    right = Records.from_dicts(people.right[:2])
    _, parts = student.contributions(left, right)
    assert np.isnan(parts).all(axis=1).tolist() == [False, True]
    assert student.explanations(left, right)[1] is None
    assert student.explain(left, right, [True, True])[1] == "A record is empty, so there is nothing to compare."
    assert student.explain(left, right, [True, True])[0].startswith("Evidence: ")


def test_plain_text_is_one_player(student: LexicalStudent, people: People) -> None:
    text = Records.from_texts(["anna bruno bonn 1950-01-02"])
    for right in (text, Records.from_dicts(people.right[:1])):
        labels, parts = student.contributions(text, right)
        assert labels == ["text", "baseline"]
        np.testing.assert_allclose(parts.sum(axis=1), logit(student.score(text, right)), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 13])
def test_shapley_values_share_out_a_game(count: int) -> None:
    """Of a game with known Shapley values: own worth, half of every joint worth of two, all of the constant."""
    rng = np.random.default_rng(count)
    own, joint = rng.normal(size=count), np.triu(rng.normal(size=(count, count)), 1)

    def worth(left: Records, right: Records) -> np.ndarray:
        here = np.column_stack([np.zeros((len(left), 0)), *(c.codes >= 0 for c in left.columns.values())])
        np.testing.assert_array_equal(here[:, ::-1].T, [c.codes >= 0 for c in right.columns.values()] or here.T)
        return here @ own + np.einsum("ni,ij,nj->n", here, joint, here) - 2.0

    names = [f"c{i}" for i in range(count)]
    left = Records.from_dicts([dict.fromkeys(names, "x")] * 50).with_columns(names)
    groups = column_groups(names, names[::-1], [])
    parts = contributions(worth, left, left.with_columns(names[::-1]), groups)
    expected = [*(own + (joint + joint.T).sum(axis=1) / 2), -2.0]
    np.testing.assert_allclose(parts, np.tile(expected, (50, 1)), atol=1e-9)


def test_columns_are_grouped_by_what_they_are_compared_with() -> None:
    comparisons = [
        Comparison("record", ("title", "phone", "id", "fax", "paid"), ("name", "tel", "id", "price")),
        Comparison("name", ("title",), ("name",)),
        Comparison("text", ("phone",), ("tel",)),
        Comparison("text", ("fax",), ("tel",)),
        Comparison("number", ("paid",), ("price",)),
    ]
    groups = column_groups(comparisons[0].left_columns, comparisons[0].right_columns, comparisons)
    assert [g.label for g in groups] == ["title~name", "phone+fax~tel", "paid~price", "id"]
    assert [g.kind for g in groups] == ["name", "text", "number", "text"]
    same = column_groups("ab", "ba", [Comparison("record", ("a", "b"), ("a", "b")), Comparison("date", ("b",), ("b",))])
    assert [(g.label, g.kind) for g in same] == [("a", "text"), ("b", "date")]


# Words


def test_words_add_up_to_their_columns_and_the_columns_to_the_score(student: LexicalStudent, people: People) -> None:
    check_sums(student, *sides(people))
    check_sums(student, *sides(people, 1))


def test_strange_values_add_up_too(student: LexicalStudent, people: People) -> None:
    left, right = strange(people)
    check_sums(student, left, right)
    text = Records.from_texts(["anna bruno bonn 1950-01-02", '"anan" bruno', "x"])
    check_sums(student, text, text.take(np.asarray([1, 2, 0])))
    check_sums(student, text, left.take(np.arange(3)))


def test_the_shares_of_words_come_from_the_model(student: LexicalStudent) -> None:
    """A lone column of at most four clues: its words are asked about in every order, so the values are exact."""
    left, right = Records.from_texts(["anna adler bonn"]), Records.from_texts(["adler anna mainz"])
    explanation = student.explanations(left, right)[0]
    assert explanation is not None
    (column,) = explanation.columns
    found = {word.texts: word.value for word in column.words if word.texts}
    assert found.keys() == {("anna",), ("adler",), ("bonn",), ("mainz",)}

    @cache
    def worth(present: frozenset[str]) -> float:
        texts = [" ".join(w for w in text.split() if w in present) for text in ("anna adler bonn", "adler anna mainz")]
        one, other = (Records.from_texts([text or None]).with_columns(["text"]) for text in texts)
        return float(student.log_odds(one, other)[0])

    expected = dict.fromkeys(found, 0.0)
    words = [word for (word,) in found]
    for order in permutations(words):
        for i, word in enumerate(order):
            expected[(word,)] += (worth(frozenset(order[: i + 1])) - worth(frozenset(order[:i]))) / 24
    assert found == pytest.approx(expected, abs=1e-9)
    assert found["adler",] > 0.5 > 0 > found["mainz",]


def linear(weights: dict[tuple[str, str], float]) -> LogOdds:
    """Log odds that are a sum: each word of a column on both sides adds its weight, on one side alone takes it off."""

    def log_odds(left: Records, right: Records) -> np.ndarray:
        rows = []
        for a, b in zip(left.to_dicts(), right.to_dicts(), strict=True):
            total = -2.0
            for (name, word), weight in weights.items():
                here = [word in (row.get(name) or "").split() for row in (a, b)]
                total += weight * (all(here) - (any(here) and not all(here)))
            rows.append(total)
        return np.asarray(rows)

    return log_odds


def explained(log_odds: LogOdds, left: Row, right: Row, rarity: Callable[[str], float] = len) -> Explanation:
    a, b = Records.from_dicts([left]), Records.from_dicts([right])
    (found,) = explanations(log_odds, a, b, column_groups(a.names, b.names, []), rarity)
    return found


def test_words_get_what_they_are_worth_where_the_model_is_a_sum() -> None:
    weights = {("name", w): 0.3 + 0.1 * i for i, w in enumerate("canon zoom lens black deluxe kit".split())}
    weights |= {("maker", "canon"): 0.7, ("maker", "inc"): 0.4, ("size", "10"): 1.0}
    left: Row = {"name": "canon zoom lens black kit", "maker": "canon inc", "size": "10"}
    right: Row = {"name": "canon lens black deluxe zoom", "maker": "canon", "size": "12"}
    found = explained(linear(weights), left, right)
    name, maker, size = found.columns
    assert found.baseline == pytest.approx(-2)
    assert {w.texts[0]: w.value for w in name.words[:-1]} == pytest.approx(
        {"canon": 0.3, "zoom": 0.4, "lens": 0.5, "black": 0.6, "deluxe": -0.7, "kit": -0.8}
    )
    assert {w.texts[0]: w.value for w in maker.words[:-1]} == pytest.approx({"canon": 0.7, "inc": -0.4})
    assert (name.words[-1].kind, name.words[-1].value) == ("rest", pytest.approx(0))
    assert size.words == (WordShare("values", ("10", "12"), size.value),)
    assert size.value == pytest.approx(-1)


def test_words_add_up_to_their_column_where_columns_get_in_each_others_way() -> None:
    """The log odds level off: a column alone says far more than the same column beside the others."""

    def level(left: Records, right: Records) -> np.ndarray:
        weights = {(name, word): 1.0 for name in "abcdef" for word in ("one", "two", "three")}
        return np.asarray(5 * np.tanh(linear(weights)(left, right) / 5))

    row: Row = dict.fromkeys("abcdef", "one two three")
    found = explained(level, row, row)
    for column in found.columns:
        assert [word.kind for word in column.words] == ["both", "both", "both", "rest"]
        assert column.words[-1].value == pytest.approx(0, abs=1e-9)
        assert [word.value for word in column.words[:3]] == pytest.approx([column.value / 3] * 3)


def test_the_sentence_is_the_same_whichever_record_comes_first(student: LexicalStudent, people: People) -> None:
    for left, right in (sides(people), sides(people, 1), strange(people)):
        assert told(student, left, right) == told(student, right, left)
    text = Records.from_texts(["anna bruno bonn 1950-01-02", "anan bruno, 1951-01-02"])
    turned = text.take(np.asarray([1, 0]))
    assert told(student, text, turned) == told(student, turned, text)


def test_an_explanation_does_not_depend_on_the_batch(student: LexicalStudent, people: People) -> None:
    left, right = strange(people)
    some = np.asarray([7, 3])
    whole = told(student, left, right)
    assert told(student, left.take(some), right.take(some)) == [whole[7], whole[3]]


def test_long_texts_are_asked_about_a_few_times_only(student: LexicalStudent) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(5000)]
    asked = []

    def log_odds(left: Records, right: Records) -> np.ndarray:
        asked.append(len(left))
        return student.log_odds(left, right)

    rows = [{"name": " ".join(rng.choice(words, 600)), "town": "bonn", "born": None} for _ in range(20)]
    left, right = Records.from_dicts(rows), Records.from_dicts(rows[1:] + rows[:1])
    groups = column_groups(left.names, right.names, student.similarity.comparisons)
    found = explanations(log_odds, left, right, groups, student._rarity)
    name = groups.index(Comparison("text", ("name",), ("name",)))
    assert max(len(explanation.columns[name].words) for explanation in found) <= 3 * MAX_CLUES + 1
    assert sum(asked) <= 20 * 100
    assert max(asked[1:]) * 4000 <= MAX_TEXT, "texts of 2,000 characters, which are kept in memory"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("Sony KDL-40 black", "sony kdl40 white", ["both KDL-40", "both Sony", "lacked black", "lacked white"]),
        ("Anna Bruno", "bruno anan", ["both Bruno", "like Anna|anan"]),
        ("x hg20 y", "hg21 y z", ["like hg20|hg21", "both y", "lacked x", "lacked z"]),
        ("the Café", "THE cafe", ["both Café", "both THE"]),
        ("zoom 1.5", "zoom 15", ["both zoom", "like 1.5|15"]),
        ("bonn", "aachen", "values aachen|bonn"),
        ("bonn", "bonn", "both bonn"),
        ("bonn", None, "empty"),
        ("b b b c", "b d", ["both b", "lacked c", "lacked d"]),
        ("b -- c", "!!!", ["lacked b", "lacked c"]),
        ("!!!", "???", "values !!!|???"),
        ("moved here", "here again", ["both here", "lacked again", "elsewhere moved"]),
        ("moved", None, ["elsewhere moved"]),
    ],
)
def test_clues(left: str | None, right: str | None, expected: list[str] | str) -> None:
    group = Comparison("text", ("a",), ("a",))
    found = find_clues({"a": left, "b": None}, {"a": right, "b": "it moved"}, group, len)
    told = [f"{clue.kind} {'|'.join(clue.texts)}".strip() for clue in found.clues]
    if isinstance(expected, str):
        assert told == [expected]
    else:
        assert sorted(told[:-1]) == sorted(expected)
        assert told[-1] == ("empty" if None in (left, right) else "rest")
    back = find_clues({"a": right, "b": "it moved"}, {"a": left, "b": None}, group, len)
    assert back.clues == found.clues


def test_numbers_and_dates_are_told_as_two_values() -> None:
    for kind in ("number", "date"):
        clues = find_clues({"a": "$ 1,299.00"}, {"a": "1299 USD"}, Comparison(kind, ("a",), ("a",)), len).clues
        assert clues == (Clue("values", ("$ 1,299.00", "1299 USD")),)
    other = find_clues({"a": "2"}, {"b": "1"}, Comparison("number", ("a",), ("b",)), len).clues
    assert other == (Clue("values", ("2", "1")),), "as their label has it, a~b"


def test_only_the_rarest_words_are_looked_at() -> None:
    shared, mine, yours = ([f"{letter * n}{n}" for n in range(2, 22)] for letter in "smy")
    row: Row = {"a": " ".join(shared + mine)}
    found = find_clues(row, {"a": " ".join(yours + shared)}, Comparison("text", ("a",), ("a",)), len)
    told = {text for clue in found.clues for text in clue.texts}
    assert told == {*shared[-MAX_CLUES:], *mine[-MAX_CLUES:], *yours[-MAX_CLUES:]}
    assert found.players == 3 * MAX_CLUES + 1


@pytest.mark.parametrize("value", ["a, (b) c-d/e!", " – “A” b…", "!!!", "x" * 500, "a b " * 900, "हिन्दी 李小龙 ß"])
def test_the_pieces_are_the_value(value: str) -> None:
    found = find_clues({"a": value}, {"a": "b e other"}, Comparison("text", ("a",), ("a",)), len)
    assert "".join(text for text, _ in found.pieces[0]["a"]) == value[:2000]
    everything = np.ones((1, found.players), dtype=bool)
    assert found.texts(0, "a", everything) == [value[:2000].strip()]
    assert found.texts(0, "a", ~everything) == [None]


# Sentences


def told(student: LexicalStudent, left: Records, right: Records) -> list[str]:
    """What is said of pairs by those who are told what each is by itself."""
    return student.explain(left, right, (student.score(left, right) >= 0.5).tolist())


def test_an_explanation_names_columns_and_words(student: LexicalStudent, people: People) -> None:
    match = told(student, *sides(people))[0]
    other = told(student, *sides(people, 1))[0]
    assert match.startswith("Evidence: ")
    assert "for a match" in match
    assert "against a match" in other
    assert all(f"{word} (+" in match for word in ("name", "born"))
    assert re.search(rf'born \(\+\d+\.\d: both have "{people.left[0]["born"]}"\)', match)
    shared = set(str(people.left[0]["name"]).split()) & set(str(people.right[0]["name"]).split())
    assert shared
    assert all(f'"{word}"' in match for word in shared)
    assert f"{people.left[0]['born']} against {people.right[1]['born']}" in other or (
        f"{people.right[1]['born']} against {people.left[0]['born']}" in other
    )
    assert match.count("\n") == 0


def test_the_figures_of_a_sentence_add_up(student: LexicalStudent, people: People) -> None:
    for left, right in (sides(people), sides(people, 1), strange(people)):
        for sentence, score in zip(told(student, left, right), logit(student.score(left, right)), strict=True):
            verdict, _, sums = sentence.partition(" In log odds: ")
            baseline, columns, together = map(float, re.findall(r"[-+]\d+\.\d", sums))
            assert together == pytest.approx(score, abs=0.051)
            assert baseline + columns == pytest.approx(together, abs=0.151)
            named = [float(f) for f in re.findall(r" \((?=[-+])([-+]\d+\.\d)(?=[:)])", verdict)]
            assert sum(named) == pytest.approx(columns, abs=0.051 * (len(named) + 2))


def share(label: str, value: float, *words: WordShare) -> ColumnShare:
    return ColumnShare(label, value, words or (WordShare("rest", (), value),))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([4.1, -0.4, 5.0, -0.01, -0.9], "Evidence: c (+5.0), a (+4.1) speak for a match; "),
        ([4.1, -0.4, 5.0, -0.01, -0.9], "; b (-0.4) speaks against a match. In log odds: "),
        ([4.1, -0.4, 5.0, -0.01, -0.9], " In log odds: baseline -0.9, columns +8.7, together +7.8."),
        ([-9, 1, -0.5, 0, -2.5], "Evidence: a (-9.0), c (-0.5) speak against a match; b (+1.0)"),
        ([0, 0, 0, 0, -3], "Evidence: no column speaks for or against a match."),
        ([0, 1, 0, 0, -3], "Evidence: b (+1.0) speaks for a match, but not enough."),
        ([0, -1, 0, 0, 3], "Evidence: b (-1.0) speaks against a match, but not enough."),
    ],
)
def test_sentences(parts: list[float], expected: str) -> None:
    columns = tuple(share(label, value) for label, value in zip("abcd", parts[:4], strict=True))
    assert expected in Explanation(parts[4], columns).sentence(sum(parts) > 0)


def test_a_sentence_names_the_strongest_columns_only() -> None:
    columns = tuple(share(label, value) for label, value in zip("abcdefg", range(1, 8), strict=True))
    said = Explanation(-9, columns).sentence(True)
    assert "g (+7.0), f (+6.0), e (+5.0), d (+4.0), c (+3.0) and 2 more (+3.0) speak for a match." in said


def word_shares(*told: str) -> tuple[WordShare, ...]:
    """`both x +2.0` and the like; two texts are divided by `|`."""
    found = []
    for text in told:
        kind, *texts, value = text.split(" ", 2) if text.count(" ") > 1 else text.split(" ")
        found.append(WordShare(kind, tuple(texts[0].split("|")) if texts else (), float(value)))
    return tuple(found)


MANY = ("both u 5", "both v 4", "both w 3", "both x 2")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("both x 2", "both y 1", "rest 0"), 'a (+3.0: both have "x" +2.0, "y" +1.0)'),
        (("both x 2", "both y 0.01", "rest 0.5"), 'a (+2.5: both have "x" +2.0; the rest +0.5)'),
        (("both x 2", "rest 0.01"), 'a (+2.0: both have "x")'),
        (("lacked x -1.2", "rest 0"), 'a (-1.2: only one has "x")'),
        (
            ("both x 2", "lacked y -0.5", "like v|w 0.7", "rest 0"),
            'a (+2.2: both have "x" +2.0; "v" like "w" +0.7; only one has "y" -0.5)',
        ),
        (
            ("both x 0.4", "lacked y -0.5", "like v|w -0.7", "rest 0"),
            'a (-0.8: "v" against "w" -0.7; only one has "y" -0.5; both have "x" +0.4)',
        ),
        (("values 249.0|399.0 -0.8",), "a (-0.8: 249.0 against 399.0)"),
        (("values $9|10 0.8",), 'a (+0.8: "$9" and "10")'),
        (("empty -0.3",), "a (-0.3: one side is empty)"),
        (("elsewhere x 0.5", "empty -0.8"), 'a (-0.3: one side is empty -0.8; found in another column "x" +0.5)'),
        (("elsewhere x 0.5", "empty 0.01"), 'a (+0.5: found in another column "x")'),
        (("rest 0.3",), "a (+0.3)"),
        ((*MANY, "both y -1", "rest 0"), '"u" +5.0, "v" +4.0, "w" +3.0, "x" +2.0; the rest -1.0)'),
        ((*MANY, "both y -30", "rest 0"), 'both have "y" -30.0, "u" +5.0, "v" +4.0, "w" +3.0; the rest +2.0)'),
        ((*MANY, "lacked y -1", "rest -20"), 'only one has "y" -1.0; both have "u" +5.0, "v" +4.0, "w" +3.0; the rest'),
    ],
)
def test_what_is_said_of_words(words: tuple[str, ...], expected: str) -> None:
    shares = word_shares(*words)
    column = ColumnShare("a", sum(word.value for word in shares), shares)
    assert expected in Explanation(0.0, (column,)).sentence(True)


def test_words_are_cut_and_escaped() -> None:
    strange = ['say "hi" \\', "\u202eanna", "x" * 100, "7" * 100]
    words = (*(WordShare("both", (text,), 1.0) for text in strange), WordShare("rest", (), 0.0))
    said = Explanation(0.0, (ColumnShare("a", 4.0, words),)).sentence(True)
    assert r'"say \"hi\" \\" +1.0, "\u202eanna" +1.0, "' in said
    assert "x" * (MAX_CHARACTERS - 1) + "…" in said
    assert "x" * MAX_CHARACTERS not in said
    assert said.isprintable()
    values = ColumnShare("a", 1.0, (WordShare("values", ("7" * 100, "8" * 100), 1.0),))
    assert len(Explanation(0.0, (values,)).sentence(True)) < 300
