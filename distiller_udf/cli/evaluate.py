"""`distiller evaluate`: matches against known pairs."""

from __future__ import annotations

from pathlib import Path

import click

from distiller_udf.cli.console import json_option, print_facts, print_json
from distiller_udf.cli.warehouse import database_option, read_parquet, read_table, schema_option
from distiller_udf.metrics import pair_metrics

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

    Ids are compared as text. Where left_source and right_source are named, by the known pairs or the matches, they are
    compared too, and a pair counts in either order; where none names sources, (1, 2) is not (2, 1).
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
