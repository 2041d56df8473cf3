"""What other tools propose on the same tables, in the same process: scikit-learn's neighbours, Splink's equality."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

Pair = tuple[object, object]


@dataclass(frozen=True)
class Proposed:
    """Pairs of ids, the best first where there is an order, and the seconds that they took."""

    pairs: Sequence[Pair]
    seconds: float


def sklearn_neighbours(left: pa.Table, right: pa.Table, neighbours: int) -> Proposed:
    """The pairs among each other's nearest by the cosine of TF-IDF-weighted 3-grams of all columns together.

    The best first: by the worse of both ranks, then by the cosine.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    started = time.perf_counter()
    texts = [_texts(table) for table in (left, right)]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), lowercase=True).fit([*texts[0], *texts[1]])
    vectors = [vectorizer.transform(part) for part in texts]
    ranks: dict[tuple[int, int], list[float]] = {}
    for side, (asked, known) in enumerate(((0, 1), (1, 0))):
        count = min(neighbours, vectors[known].shape[0])
        index = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(vectors[known])
        distances, found = index.kneighbors(vectors[asked])
        for i, row in enumerate(found):
            for rank, j in enumerate(row.tolist()):
                pair = (i, j) if side == 0 else (j, i)
                ranks.setdefault(pair, [np.inf, np.inf, 0.0])[side] = rank
                ranks[pair][2] = float(distances[i, rank])
    mutual = sorted((max(r[0], r[1]), r[2], pair) for pair, r in ranks.items() if max(r[0], r[1]) < np.inf)
    ids = left["id"].to_pylist(), right["id"].to_pylist()
    return Proposed([(ids[0][i], ids[1][j]) for _, _, (i, j) in mutual], time.perf_counter() - started)


def splink_equality(left: pa.Table, right: pa.Table, rules: Sequence[Sequence[str]]) -> tuple[pa.Table, float]:
    """The pairs that Splink's blocking proposes for the same values in all columns of one of the rules at least.

    A table of `id_l`, `id_r` and `source_dataset_l`, which says whose id comes first, and the seconds that it took.
    """
    from splink import Linker, SettingsCreator, block_on
    from splink.internals.duckdb.database_api import DuckDBAPI

    logging.getLogger("splink").setLevel(logging.ERROR)
    database = DuckDBAPI()
    columns = sorted({column for rule in rules for column in rule})
    tables = [
        database.register(t.select(["id", *columns]), dataset_display_name=name)
        for t, name in ((left, "left_table"), (right, "right_table"))
    ]
    settings = SettingsCreator(
        link_type="link_only",
        unique_id_column_name="id",
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in rules],
    )
    linker = Linker(tables, settings, log_level=logging.ERROR)
    started = time.perf_counter()
    found = linker.inference.deterministic_link()
    seconds = time.perf_counter() - started
    return found.as_duckdbpyrelation().select("id_l, id_r, source_dataset_l").to_arrow_table(), seconds


def linked_pairs(found: pa.Table) -> list[Pair]:
    """The pairs in Splink's table, the left record first."""
    rows = zip(*(found[name].to_pylist() for name in ("id_l", "id_r", "source_dataset_l")), strict=True)
    return [(a, b) if source == "left_table" else (b, a) for a, b, source in rows]


def _texts(table: pa.Table) -> list[str]:
    columns = [table[name].to_pylist() for name in table.column_names if name != "id"]
    return [" ".join(str(value) for value in row if value is not None) for row in zip(*columns, strict=True)]
