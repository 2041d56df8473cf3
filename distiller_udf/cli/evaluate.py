"""`distiller evaluate`: matches against known pairs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import click

from distiller_udf.cli.console import json_option, print_facts, print_json
from distiller_udf.cli.options import FILE, opened_warehouse, with_project
from distiller_udf.files.tables import open_table
from distiller_udf.metrics import pair_metrics
from distiller_udf.project import Project


@click.command()
@click.option("--gold", type=FILE, help="The known pairs: left_id, right_id.  [default: er_gold]")
@click.option("--matches", type=FILE, help="Instead of the warehouse: matches (left_id, right_id).")
@click.option("--candidates", type=FILE, help="With --matches: all candidate pairs, for blocking's recall.")
@with_project(warehouse=True)
@json_option
def evaluate(project: Project, gold: Path | None, matches: Path | None, candidates: Path | None, as_json: bool) -> None:
    """Measure matches against known pairs: precision, recall, F1, and what blocking missed.

    Ids are compared as text. Where left_source and right_source are named, by the known pairs or the matches, they are
    compared too, and a pair counts in either order; where none names sources, (1, 2) is not (2, 1). Of known pairs and
    matches with a column is_match those count of which it is true.
    """
    named = project.settings.gold
    if gold is None and named is None:
        raise click.UsageError("give the known pairs with --gold, or set er_gold")
    warehouse = cache(lambda: opened_warehouse(project))
    if matches:
        found, proposed = open_table(matches), open_table(candidates) if candidates else None
    else:
        found, proposed = warehouse().table("er_matches"), warehouse().table("er_candidates")
    known = open_table(gold) if gold else warehouse().table(str(named))
    figures = pair_metrics(known, found, proposed)
    if as_json:
        print_json(figures)
    else:
        print_facts("Matches against the known pairs", figures)
