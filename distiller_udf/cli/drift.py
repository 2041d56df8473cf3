"""`distiller drift`: is the current student still right about today's records?"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.ask import PAIR_COLUMNS
from distiller_udf.cli.console import json_option, print_json, print_table, say
from distiller_udf.cli.options import BUDGET, REGISTRY, with_project
from distiller_udf.cli.weighing import of_project
from distiller_udf.english import counted
from distiller_udf.errors import SettingsError
from distiller_udf.project import Project
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from distiller_udf.training.schedule.drift import Answers, Drift
    from distiller_udf.training.schedule.snapshot import Snapshot

EXITS = {"no drift": 0, "drift": 30, "unknown": 40}
SENTENCES = {
    "no drift": "No drift.",
    "drift": "Drift: `distiller retrain` is due.",
    "unknown": "Whether there is drift cannot be told.",
}


@click.command()
@click.option("--seed", "draw", type=int, help="Which records are drawn.  [default: the day, as in 20261123]")
@with_project({**REGISTRY, "--tuples": "drift_tuples", "--psi": "drift_psi", **BUDGET}, warehouse=True)
@json_option
@click.pass_context
def drift(context: click.Context, /, project: Project, draw: int | None, as_json: bool) -> None:
    """Ask the teacher about a sample of today's decisions, and see whether today's pairs are like those trained on.

    The same day draws the same records, and what the teacher has answered is in the label store: a second run asks
    nothing. What was measured is written beside the student's versions.

    \b
    Exit codes:
      0   no drift
      30  drift: `distiller retrain` is due
      40  it cannot be told: too few answers, or no held-out labels to compare them with
      1   an error
      2   wrong options
    """
    found = measured(project, draw)
    if as_json:
        print_json(found.to_dict())
    else:
        show(found)
    context.exit(EXITS[found.outcome])


def measured(project: Project, draw: int | None = None) -> Drift:
    """Measure the drift of the current student and write it down. Raises StudentError, TeacherError, RecordError."""
    from distiller_udf.students import load_student
    from distiller_udf.students.llm import serving_of
    from distiller_udf.training.schedule.drift import measure
    from distiller_udf.training.schedule.evaluation_set import split

    settings = project.settings
    registry = Registry.of(settings)
    student = registry.current()
    day = int(datetime.now(timezone.utc).strftime("%Y%m%d"))
    tables = {name: name for name in ("er_votes", "er_matches", "er_choices")}
    with of_project(project, ("er_pairs", "er_tuples"), tables) as (snapshot, known):
        _, held_out = split(snapshot.table("er_votes").to_arrow_table(), settings.evaluation_share)
        found = measure(
            snapshot,
            load_student(student, serving_of(settings), known.resolved_constraint),
            student,
            held_out,
            known,
            day if draw is None else draw,
            lambda tuples: asked(tuples, snapshot, known),
        )
    found.write(registry.folder)
    return found


def asked(tuples: pa.Table, snapshot: Snapshot, settings: Settings) -> Answers:
    """The teachers' answers as one label a tuple, and why the asking ended early, if it did."""
    from distiller_udf.cli.ask_view import watching
    from distiller_udf.labels import make_run
    from distiller_udf.votes import vote

    def all_pairs() -> pa.Table:
        return snapshot.table("er_pairs").select(PAIR_COLUMNS).to_arrow_table()

    run = make_run(settings)
    if not run.teachers:
        raise SettingsError("only imported labels are set, and nobody is asked for these; set er_teacher, as in --vars")
    with run.store, watching() as watch:
        labels = run.label(tuples, pairs=all_pairs, progress=watch)
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
        of = counted(found.tuples, "question")
        say(f"Stopped asking: {found.stopped}; {found.answered:,} of {of} got an answer, which is used.")
    for reason in found.reasons:
        say(f"- {reason}")
    say(SENTENCES[found.outcome])
