"""`distiller drift`: is the current student still right about today's records?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import json_option, print_json, print_table, say
from distiller_udf.cli.label import PAIR_COLUMNS, find_project, read_settings
from distiller_udf.cli.schedule_settings import (
    check,
    name_option,
    project_option,
    registry_of,
    students_option,
    variables_option,
)
from distiller_udf.cli.warehouse import database_option, schema_option
from distiller_udf.errors import SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.pipeline.snapshot import Snapshot
    from distiller_udf.training.schedule.drift import Asked, Drift

DRIFTED = 30
Settings = Mapping[str, Any]


@click.command()
@database_option
@schema_option
@project_option
@variables_option
@students_option
@name_option
@click.option("--tuples", "drift_tuples", type=click.IntRange(1), help="About how many left records; er_drift_tuples.")
@click.option("--psi", "drift_psi", type=click.FloatRange(0), help="Instead of er_drift_psi.")
@click.option("--seed", "draw", type=int, help="Which records are drawn.  [default: the day, as in 20261123]")
@click.option("--budget-calls", type=click.IntRange(0), help="How many calls this run may make.")
@click.option("--budget-tokens", type=click.IntRange(0), help="How many tokens this run may use.")
@click.option("--budget-usd", type=click.FloatRange(0), help="How many dollars this run may spend.")
@json_option
@click.pass_context
def drift(
    context: click.Context,
    /,
    database: Path | None,
    schema: str,
    project_dir: Path | None,
    variables: str,
    draw: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask the teacher about a sample of today's decisions, and see whether today's pairs are like those trained on.

    The same day draws the same records, and what the teacher has answered is in the label store: a second run asks
    nothing. What was measured is written beside the student's versions.

    \b
    Exit codes:
      0   no drift
      30  drift: `distiller retrain` is due
      1   an error
      2   wrong options
    """
    if database is None:
        raise click.UsageError("give --database")
    settings, folder = read_settings(find_project(project_dir, database), variables, given)
    check(settings)
    found = measured(database, schema, settings, folder, draw)
    if as_json:
        print_json(asdict(found))
    else:
        show(found)
    context.exit(DRIFTED if found.drifted else 0)


def measured(database: Path, schema: str, settings: Settings, folder: Path, draw: int | None = None) -> Drift:
    """Measure the drift of the current student and write it down. Raises StudentError, TeacherError, RecordError."""
    from distiller_udf.constraint import Constraint
    from distiller_udf.pipeline.downstream import with_sources
    from distiller_udf.pipeline.snapshot import of_warehouse
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import serving_of
    from distiller_udf.training.schedule.drift import measure
    from distiller_udf.training.schedule.evaluation_set import split

    registry = registry_of(settings, folder)
    student = registry.current()
    day = int(datetime.now(timezone.utc).strftime("%Y%m%d"))
    with of_warehouse(database, schema, {}, also=("er_matches", "er_choices")) as snapshot:
        known = with_sources(settings, snapshot)
        _, held_out = split(snapshot.table("er_votes").to_arrow_table(), settings["evaluation_share"])
        found = measure(
            snapshot,
            load_student(student, serving_of(settings, folder), Constraint.of(known)),
            student,
            held_out,
            known,
            day if draw is None else draw,
            lambda tuples: asked(tuples, snapshot, known, folder),
        )
    found.write(registry.folder)
    return found


def asked(tuples: pa.Table, snapshot: Snapshot, settings: Settings, folder: Path) -> Asked:
    """The teachers' answers as one label a tuple, and why the asking ended early, if it did."""
    from distiller_udf.cli.label_view import watching
    from distiller_udf.labelling import label_tuples, make_run
    from distiller_udf.votes import vote

    run = make_run(settings, folder)
    if not run.teachers:
        raise SettingsError("only imported labels are set, and nobody is asked for these; set er_teacher, as in --vars")
    with run.store as store, watching() as watch:
        labels = label_tuples(
            tuples,
            teachers=run.teachers,
            store=store,
            budget=run.budget,
            privacy=run.privacy,
            pairs=lambda: snapshot.table("er_pairs").select(PAIR_COLUMNS).to_arrow_table(),
            progress=watch,
        )
    return (vote(labels, run.vote) if len(run.teachers) > 1 else labels), watch.stopped


def show(found: Drift) -> None:
    """What was measured, for people."""
    if found.agreement is not None:
        shares = {name.replace("_", " "): share for name, share in vars(found.agreement).items() if share is not None}
        rows = [[name, share.of, share.value, share.low, share.high] for name, share in shares.items()]
        title = f"The teacher and the decisions of {found.student}"
        print_table(title, ["agreement", "records", "share", "from", "to"], rows)
    if found.shifts:
        rows = [[shift.what, shift.psi, shift.chance] for shift in found.shifts[:10]]
        print_table("Today's pairs and those trained on", ["", "PSI", "by chance up to"], rows)
    if found.stopped:
        say(f"Stopped asking: {found.stopped}; {found.answered:,} of {found.tuples:,} were answered and are used.")
    for reason in found.reasons:
        say(f"- {reason}")
    say("Drift: `distiller retrain` is due." if found.drifted else "No drift.")
