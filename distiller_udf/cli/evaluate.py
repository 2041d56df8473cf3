"""`distiller evaluate`: matches against known pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import duckdb

from distiller_udf.cli.console import json_option, print_facts, print_json
from distiller_udf.cli.warehouse import database_option, read_parquet, read_table, schema_option
from distiller_udf.errors import RecordError

existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--gold", type=existing, required=True, help="The known pairs as Parquet: left_id, right_id.")
@database_option
@schema_option
@click.option("--matches", type=existing, help="Instead of --database: matches as Parquet (left_id, right_id).")
@click.option("--candidates", type=existing, help="With --matches: all candidate pairs, for blocking's recall.")
@json_option
def evaluate(
    gold: Path, database: Path | None, schema: str, matches: Path | None, candidates: Path | None, as_json: bool
) -> None:
    """Measure matches against known pairs: precision, recall, F1, and what blocking missed.

    Pairs are compared as (left_id, right_id), ids as text; the sources are compared too where both files name them.
    """
    if matches:
        found, proposed = read_parquet(matches), read_parquet(candidates) if candidates else None
    elif database:
        found, proposed = (read_table(database, schema, table) for table in ("er_matches", "er_candidates"))
    else:
        raise click.UsageError("give --database or --matches")
    figures = pair_metrics(read_parquet(gold), found, proposed)
    if as_json:
        print_json(figures)
    else:
        print_facts("Matches against the known pairs", figures)


def pair_metrics(
    gold: duckdb.DuckDBPyRelation, matches: duckdb.DuckDBPyRelation, candidates: duckdb.DuckDBPyRelation | None = None
) -> dict[str, Any]:
    """Precision, recall and F1 of matches against gold pairs, and blocking's recall where candidates are given.

    Raises RecordError when an id column is missing or there are no known pairs.
    """
    if "is_match" in matches.columns:
        matches = matches.filter("is_match")
    others = [relation for relation in (matches, candidates) if relation is not None]
    keys = [key for key in ("left_source", "left_id", "right_source", "right_id") if key in gold.columns]
    keys = [key for key in keys if key.endswith("_id") or all(key in other.columns for other in others)]
    known, found = _pairs(gold, keys, "the known pairs"), _pairs(matches, keys, "the matches")
    if not known:
        raise RecordError("there are no known pairs, so nothing can be measured")
    right = len(known & found)
    precision, recall = right / len(found) if found else 0.0, right / len(known)
    figures: dict[str, Any] = {
        "known_pairs": len(known),
        "matches": len(found),
        "right": right,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if right else 0.0,
    }
    if candidates is not None:
        proposed = _pairs(candidates, keys, "the candidates")
        figures |= {"candidate_pairs": len(proposed), "blocking_recall": len(known & proposed) / len(known)}
    return figures


def _pairs(relation: duckdb.DuckDBPyRelation, keys: list[str], what: str) -> set[tuple[str, ...]]:
    missing = [key for key in ("left_id", "right_id") if key not in relation.columns]
    if missing:
        raise RecordError(f"{what} lack the column {', '.join(missing)}; they have {', '.join(relation.columns)}")
    return set(relation.select(", ".join(f"cast({key} as varchar)" for key in keys)).fetchall())
