"""`distiller score`: pairs of records in files, scores in another, by the same core as the UDFs."""

from __future__ import annotations

from pathlib import Path

import click

from distiller_udf.cli.console import err, json_option, print_json, progress
from distiller_udf.cli.options import with_project
from distiller_udf.cli.sources import Files, with_files
from distiller_udf.english import counted
from distiller_udf.project import Project


@click.command()
@with_files()
@click.option(
    "--student",
    type=click.Path(path_type=Path),
    help="A student's folder, or the folder of a registry.  [default: the project's current student]",
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True)
@with_project(
    {
        "--name": "student_name",
        "--engine": "llm_engine",
        "--model": "llm_model",
        "--orders": "llm_orders",
        "--base-url": "llm_base_url",
        "--served-as": "llm_served_as",
        "--local-only": "local_only",
    }
)
@json_option
def score(
    project: Project,
    files: Files,
    student: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Score pairs of records: files in, a file out; the suffix says of which kind (.parquet, .csv, .json, .jsonl).

    Ids of different types are compared as text; candidates that name unknown records are counted and left out.
    Writes every other pair with `probability` (the two records alone), `choice_probability` (given the other candidates
    of the same left record) and `is_match`. The output appears only when it is complete.
    """
    from distiller_udf.pairs import write_scores
    from distiller_udf.registry.current import CurrentStudent

    if output.resolve() in [path.resolve() for path in files.paths]:
        raise click.UsageError(f"{output} is an input; give another --output")
    source = files.pairs()
    if source is None:
        raise click.UsageError("give --pairs, or --left, --right and --candidates")
    if source.unknown:
        given = source.rows + source.unknown
        err.print(f"{source.unknown:,} of {counted(given, 'candidate')} left out: the files have no such records")
    # Of one table a student without a constraint is needed; of two, how many may match is not said by the files.
    settings = project.settings if files.right else files.settings(project)
    scorer = CurrentStudent.of(settings if student is None else settings.but({"student_path": str(student)})).get()
    with progress("scoring pairs", source.rows) as advance:
        rows, matches = write_scores(scorer, source.ordered(scorer.info.constraint), output, advance)
    if as_json:
        counts = {"pairs": rows, "matches": matches, "unknown": source.unknown}
        print_json({**counts, "student": scorer.info.version, "output": str(output)})
    else:
        err.print(f"{counted(rows, 'pair')} scored by {scorer.info.version}, {counted(matches, 'match')}: {output}")
