"""Selections: which left records each strategy takes, on profiles whose answer is known."""

from __future__ import annotations

import hashlib
import random
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distiller_udf import selection
from distiller_udf.errors import SettingsError
from distiller_udf.selection import STRATEGIES, select, uncertainty

# What the SQL of the first release selected from `recorded()`, by rank: strategy, share, minimum, ratio, seed.
RECORDED = [
    ("max", 0.25, 0, 0.5, 42, "a'11 a'25 b12 a'7 a'31 b36 a2 a32 a'5 b18"),
    ("max", 0.3, 12, 0.75, 1, "a'5 a'25 b12 a'7 a2 b36 a'11 a'31 b6 a34 b'9 a4"),
    ("top2", 0.25, 0, 0.5, 42, "a34 a'5 b'9 b0 a4 b30 b6 a'25 b'15 a'7"),
    ("top2", 0.4, 0, 0.2, 3, "b6 a'5 a4 b0 b'9 b30 a'25 a'7 a2 a'31 a28 b'21 a26 b36 a'35"),
    ("random", 0.25, 0, 0.5, 42, "a8 a'7 b30 b18 a14 b24 b'27 a34 a'29 a26"),
    ("random", 0.1, 9, 1.0, 7, "b'15 b'27 a'25 a'17 a16 b12 b6 a8 b'21"),
    (
        "max",
        1.0,
        0,
        0.3,
        5,
        "a'11 a'25 a'31 a'7 a2 b36 a'5 a32 b12 b18 a4 a8 b'9 b30 b6 b24 a34 a'29 a20 a22 b'15 a'17 a10 b'21 a16 a'35 "
        "a'23 a28 b'33 a'19 b'27 a'1 a14 b'3 b0 a26 a'13",
    ),
]


def recorded() -> pa.Table:
    """Random profiles with many equal similarities, odd ids and a source with the separator in its name."""
    rng = random.Random(11)
    rows = []
    for i in range(37):
        name = f"it's {i}" if i % 2 else str(i)
        alike = [rng.randint(0, 20) / 20 for _ in range(rng.randint(1, 4))]
        rows.append({"left_source": "a" if i % 3 else "b:c", "left_id": name, "id_text": name, "similarities": alike})
    return pa.Table.from_pylist(rows)


def profiles(similarities: list[list[float]], **columns: list[Any]) -> pa.Table:
    count = len(similarities)
    table = {
        "left_source": pa.array(["l"] * count, pa.string()),
        "left_id": pa.array(range(count), pa.int64()),
        "id_text": pa.array([str(i) for i in range(count)], pa.string()),
        "similarities": pa.array(similarities, pa.list_(pa.float64())),
    }
    return pa.table({**table, **{name: pa.array(values) for name, values in columns.items()}})


def two_kinds(matches: int, others: int, seed: int = 0) -> pa.Table:
    """Left records with one candidate far above the rest, then left records whose candidates are all far away."""
    rng = random.Random(seed)
    low = lambda: [rng.uniform(0.11, 0.19) for _ in range(3)]  # noqa: E731
    return profiles([*([rng.uniform(0.91, 0.99), *low()] for _ in range(matches)), *(low() for _ in range(others))])


def ids(selected: pa.Table) -> list[Any]:
    assert selected["rank"].to_pylist() == list(range(1, len(selected) + 1))
    return list(selected["left_id"].to_pylist())


@pytest.mark.parametrize(("strategy", "share", "minimum", "ratio", "seed", "expected"), RECORDED)
def test_the_same_records_are_selected_as_ever(
    strategy: str, share: float, minimum: int, ratio: float, seed: int, expected: str
) -> None:
    settings = {"share": share, "minimum": minimum, "positive_ratio": ratio, "seed": seed}
    rows = select(recorded(), strategy=strategy, **settings).to_pylist()  # type: ignore[arg-type]
    names = [f"{row['left_source'][0]}{row['left_id']}".replace("it's ", "'") for row in rows]
    assert " ".join(names) == expected
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["strategy"] for row in rows} == {strategy}


def test_scores_are_what_the_strategy_looked_at() -> None:
    table = profiles([[0.5, 0.9, 0.7], [0.4], [0.2, 0.2]])
    by_id = {s: dict(zip(ids(t), t["score"].to_pylist(), strict=True)) for s, t in everything(table).items()}
    assert by_id["max"] == {0: 0.9, 1: 0.4, 2: 0.2}
    assert by_id["top2"] == {0: pytest.approx(0.2), 1: 0.4, 2: 0.0}
    assert by_id["random"] == {0: None, 1: None, 2: None}
    assert set(by_id["kmeans"].values()) == {0.0, 1.0}


def everything(table: pa.Table) -> dict[str, pa.Table]:
    return {strategy: select(table, strategy=strategy, share=1.0) for strategy in STRATEGIES}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_left_records_are_all_taken_once(strategy: str, count: int) -> None:
    table = profiles([[0.1 * (i + 1)] * (i + 1) for i in range(count)])
    selected = select(table, strategy=strategy, share=0.1, minimum=100)
    assert sorted(ids(selected)) == list(range(count))
    assert selected.schema.field("left_id").type == pa.int64()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_neither_the_order_of_the_rows_nor_another_run_changes_anything(strategy: str) -> None:
    rng = np.random.default_rng(5)
    table = profiles(
        [rng.uniform(0, 1, rng.integers(1, 6)).tolist() for _ in range(300)],
        probabilities=[rng.uniform(0, 1, 2).tolist() if i % 5 else None for i in range(300)],
        selected=[i % 30 == 0 for i in range(300)],
    )
    shuffled = table.take(pa.array(rng.permutation(300)))
    first = select(table, strategy=strategy, share=0.3)
    assert 0 < len(first) <= 90
    assert select(shuffled, strategy=strategy, share=0.3).equals(first)
    if strategy not in ("max", "top2"):
        assert ids(select(table, strategy=strategy, share=0.3, seed=1)) != ids(first)


@pytest.mark.parametrize(("count", "share", "expected"), [(70, 0.1, 7), (71, 0.1, 8), (30, 0.7, 21), (10, 0.0, 0)])
def test_a_share_is_counted_in_decimals(count: int, share: float, expected: int) -> None:
    assert len(select(profiles([[0.5]] * count), share=share)) == expected


def test_random_goes_by_a_hash_that_sql_can_compute() -> None:
    drawn = sorted(range(40), key=lambda i: hashlib.md5(f"3:l:{i}".encode()).hexdigest())
    assert ids(select(profiles([[0.5]] * 40), share=0.25, seed=3)) == drawn[:10]


@pytest.mark.parametrize("kind", ["uuid", "date", "text"])
def test_ids_keep_their_type(kind: str) -> None:
    values = {
        "uuid": pa.array([uuid.UUID(int=i).bytes for i in range(4)], pa.binary(16)),
        "date": pa.array(range(4), pa.date32()),
        "text": pa.array(["é", "'", "", " "]),
    }[kind]
    table = profiles([[0.1 * i] for i in range(4)]).set_column(1, "left_id", values)
    selected = select(table, strategy="max", share=0.5)
    assert selected["left_id"].combine_chunks().equals(values.take(pa.array([3, 0])))


def test_an_unknown_strategy_lists_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match="Allowed: random, max, top2, kmeans, hierarchical, uncertain"):
        select(profiles([[0.5]]), strategy="best")


# --- Clusters of histograms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["kmeans", "hierarchical"])
def test_likely_matches_come_from_the_higher_cluster(strategy: str) -> None:
    selected = select(two_kinds(60, 140), strategy=strategy, share=0.2, positive_ratio=0.75)
    taken = ids(selected)
    assert sum(i < 60 for i in taken) == 30
    assert [i < 60 for i in taken[:20]] == [True, False] * 10
    assert selected["score"].to_pylist() == [float(i < 60) for i in taken]


@pytest.mark.parametrize("strategy", ["kmeans", "hierarchical"])
@pytest.mark.parametrize(("matches", "others", "expected"), [(5, 95, 5), (95, 5, 35)])
def test_a_cluster_that_is_too_small_is_filled_from_the_other(
    strategy: str, matches: int, others: int, expected: int
) -> None:
    taken = ids(select(two_kinds(matches, others), strategy=strategy, share=0.4, positive_ratio=0.5))
    assert len(taken) == len(set(taken)) == 40
    assert sum(i < matches for i in taken) == expected


@pytest.mark.parametrize("strategy", ["kmeans", "hierarchical"])
def test_a_cluster_is_drawn_from_at_random(strategy: str) -> None:
    draws = [set(ids(select(two_kinds(60, 140), strategy=strategy, share=0.2, seed=seed))) for seed in (1, 2)]
    assert len(draws[0] & draws[1]) < 25


@pytest.mark.parametrize("strategy", ["kmeans", "hierarchical"])
def test_beyond_the_sample_the_nearest_centroid_decides(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = select(two_kinds(60, 140), strategy=strategy, share=1.0)
    monkeypatch.setattr(selection, "CLUSTERED", 40)
    assert select(two_kinds(60, 140), strategy=strategy, share=1.0).equals(whole)


def test_equal_histograms_are_one_cluster() -> None:
    taken = ids(select(profiles([[0.51], [0.55], [0.59]] * 10), strategy="kmeans", share=0.5))
    assert len(taken) == 15


def test_bins_tell_similarities_apart() -> None:
    table = profiles([[0.52], [0.58]] * 20)
    assert set(select(table, strategy="kmeans", share=1.0, bins=10)["score"].to_pylist()) == {1.0}
    fine = select(table, strategy="kmeans", share=1.0, bins=20)
    assert {i % 2: score for i, score in zip(ids(fine), fine["score"].to_pylist(), strict=True)} == {0: 0.0, 1: 1.0}


def test_similarities_of_zero_and_one_have_their_bins() -> None:
    table = profiles([[0.0]] * 5 + [[1.0]] * 5)
    selected = select(table, strategy="hierarchical", share=1.0)
    assert dict(zip(ids(selected), selected["score"].to_pylist(), strict=True)) == {i: float(i >= 5) for i in range(10)}


# --- Uncertainty ----------------------------------------------------------------------------------------------------


def test_uncertainty_is_the_lead_of_the_best_answer_none_included() -> None:
    given = [[0.5], [0.9, 0.2], [0.5, 0.5], [], [0.3], [0.8, 0.1, 0.6]]
    probabilities = np.array([p for ps in given for p in ps] + [np.nan])
    found = uncertainty(probabilities, np.cumsum([0, *map(len, given)]))
    for ps, value in zip(given, found, strict=False):
        weights = sorted([1.0, *(p / (1 - p) for p in ps)], reverse=True)
        if ps:
            assert value == pytest.approx(1 - (weights[0] - weights[1]) / sum(weights))
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[[3, 6]]).all()
    certain = uncertainty(np.array([1.0, 0.0, 0.0, np.nan]), np.array([0, 2]))
    assert (certain < 1e-6).all()


def test_the_first_round_is_random() -> None:
    table = profiles([[0.5]] * 400, probabilities=[[0.5 if i < 100 else 0.01] for i in range(400)])
    first = ids(select(table, strategy="uncertain", share=0.5, rounds=4))
    assert first == ids(select(table, strategy="random", share=0.5))[:50]


def test_rounds_add_the_least_sure_until_the_share_is_reached() -> None:
    rng = random.Random(3)
    alike, sure = [[rng.random()] for _ in range(400)], [0.5 if i % 4 == 0 else 0.01 for i in range(400)]
    taken: set[int] = set()
    for expected in (50, 100, 150, 200, 200):
        columns = {"probabilities": [[p] for p in sure], "selected": [i in taken for i in range(400)]}
        now = ids(select(profiles(alike, **columns), strategy="uncertain", share=0.5, rounds=4))
        assert len(now) == expected
        assert set(now[: len(taken)]) == taken
        new = set(now) - taken
        if taken and expected <= 100:
            assert {sure[i] for i in new} == {0.5}
        taken = set(now)


def test_a_round_is_spread_over_the_similarities() -> None:
    # The student is least sure of the most similar records, all of them.
    count = 400
    columns = {"probabilities": [[0.5 * i / count] for i in range(count)], "selected": [i == 0 for i in range(count)]}
    table = profiles([[i / count] for i in range(count)], **columns)
    new = set(ids(select(table, strategy="uncertain", share=0.4, rounds=4))) - {0}
    assert [sum((i - 1) * 4 // (count - 1) == quarter for i in new) for quarter in range(4)] == [10] * 4
    assert new >= {399, 299, 200, 100}


def test_what_is_not_answered_yet_counts_as_part_of_the_round() -> None:
    selected = [i < 50 for i in range(400)]
    given: dict[str, list[Any]] = {"probabilities": [[0.5]] * 400, "selected": selected}
    for answered, expected in ((50, 100), (30, 80), (0, 50)):
        table = profiles([[0.5]] * 400, **given, labelled=[i < answered for i in range(400)])
        assert len(select(table, strategy="uncertain", share=0.5, rounds=4)) == expected


def test_nothing_is_added_while_the_last_round_has_no_answer() -> None:
    """The first 50 are answered, the next 50 are not: the teacher was not reached."""
    rounds = [1] * 50 + [2] * 50 + [0] * 300
    columns = {"selected": [i < 100 for i in range(400)], "labelled": [i < 50 for i in range(400)], "round": rounds}
    selected = select(profiles([[0.5]] * 400, **columns), strategy="uncertain", share=0.5, rounds=4)
    assert sorted(ids(selected)) == list(range(100))
    assert sorted(selected["round"].to_pylist()) == rounds[:100]


@pytest.mark.parametrize("fails", [2, 3, 10])
def test_questions_that_fail_for_ever_do_not_keep_the_share_from_being_reached(fails: int) -> None:
    """Every second, third or tenth question never gets an answer."""
    taken: dict[int, int] = {}
    alike = [[0.5]] * 400
    sizes = []
    for _ in range(12):
        columns = {
            "selected": [i in taken for i in range(400)],
            "labelled": [i in taken and i % fails > 0 for i in range(400)],
            "round": [taken.get(i) for i in range(400)],
        }
        selected = select(profiles(alike, **columns), strategy="uncertain", share=0.5, rounds=4)
        assert taken.items() <= dict(zip(ids(selected), selected["round"].to_pylist(), strict=True)).items()
        taken = dict(zip(ids(selected), selected["round"].to_pylist(), strict=True))
        sizes.append(len(taken))
    assert sizes[0] == 50
    assert sizes[3] < 200, "an unanswered question counts once as part of a round"
    assert sizes[-1] == 200


def test_without_knowing_what_is_labelled_every_run_adds_a_round() -> None:
    taken: dict[int, int] = {}
    for expected in (50, 100, 150, 200, 200):
        columns = {"selected": [i in taken for i in range(400)], "round": [taken.get(i) for i in range(400)]}
        selected = select(profiles([[0.5]] * 400, **columns), strategy="uncertain", share=0.5, rounds=4)
        taken = dict(zip(ids(selected), selected["round"].to_pylist(), strict=True))
        assert len(taken) == expected
    assert sorted(taken.values()) == [1] * 50 + [2] * 50 + [3] * 50 + [4] * 50


def test_what_is_labelled_is_kept_without_an_earlier_selection_and_first() -> None:
    table = profiles([[0.5]] * 400, labelled=[i >= 350 for i in range(400)], selected=[i < 60 for i in range(400)])
    assert set(ids(select(table, strategy="uncertain", share=0.2, rounds=4))) >= set(range(350, 400))
    assert set(ids(select(table, strategy="uncertain", share=0.1, rounds=4))) <= set(range(350, 400))


def test_records_without_a_score_rank_by_chance() -> None:
    probabilities = [[0.5] if i % 3 == 0 else [0.01] if i % 3 == 1 else None for i in range(900)]
    table = profiles([[0.5]] * 900, probabilities=probabilities, selected=[i < 20 for i in range(900)])
    new = set(ids(select(table, strategy="uncertain", share=0.4, rounds=2))) - set(range(20))
    kinds = [sum(i % 3 == kind for i in new) for kind in range(3)]
    assert kinds[0] > kinds[2] > kinds[1]
    without = profiles([[0.5]] * 900, selected=[i < 20 for i in range(900)])
    assert len(select(without, strategy="uncertain", share=0.4, rounds=2)) == 20 + 180


def test_a_round_is_never_tiny() -> None:
    assert len(select(profiles([[0.5]] * 300), strategy="uncertain", share=0.1, rounds=10)) == 20
    assert len(select(profiles([[0.5]] * 30), strategy="uncertain", share=0.1, rounds=10)) == 3
