"""`distiller score`: pairs of records in a Parquet file, scores in another, by the same core as the UDFs."""

from __future__ import annotations

from pathlib import Path

import click

from distiller_udf.cli.console import err, json_option, print_json, progress
from distiller_udf.cli.options import FILE, with_project
from distiller_udf.project import Project


@click.command()
@click.option("--left", type=FILE, help="Left records: id and any columns.")
@click.option("--right", type=FILE, help="Right records; default: the left ones.")
@click.option("--candidates", type=FILE, help="Pairs to score: left_id, right_id.")
@click.option("--pairs", type=FILE, help="Instead of the three: left_record and right_record as STRUCT or text.")
@click.option("--id", "id_column", default="id", show_default=True, help="The id column of the records.")
@click.option("--right-id", "right_id_column", help="The id column of the right records, if it is another one.")
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
    left: Path | None,
    right: Path | None,
    candidates: Path | None,
    pairs: Path | None,
    id_column: str,
    right_id_column: str | None,
    student: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Score pairs of records: Parquet in, Parquet out.

    Ids of different types are compared as text; candidates that name unknown records are counted and left out.
    Writes every other pair with `probability` (the two records alone), `choice_probability` (given the other candidates
    of the same left record) and `is_match`. The output appears only when it is complete.
    """
    from distiller_udf.current import CurrentStudent
    from distiller_udf.parquet import pairs_from_file, pairs_from_tables, write_scores
    from distiller_udf.students.llm import serving_of

    inputs = [path.resolve() for path in (left, right, candidates, pairs) if path]
    if output.resolve() in inputs:
        raise click.UsageError(f"{output} is an input; give another --output")
    if pairs:
        source = pairs_from_file(pairs)
    elif left and candidates:
        source = pairs_from_tables(left, right or left, candidates, id_column, right_id_column)
    else:
        raise click.UsageError("give --pairs, or --left, --right and --candidates")
    if source.unknown:
        given = source.rows + source.unknown
        err.print(f"{source.unknown:,} of {given:,} candidates name unknown records; they are left out")
    settings = project.settings
    folder = student or settings.student_path or settings.students_path
    scorer = CurrentStudent(folder, settings.student_name, serving_of(settings)).get()
    with progress("scoring pairs", source.rows) as advance:
        rows, matches = write_scores(scorer, source, output, advance)
    if as_json:
        counts = {"pairs": rows, "matches": matches, "unknown": source.unknown}
        print_json({**counts, "student": scorer.info.version, "output": str(output)})
    else:
        err.print(f"{rows:,} pairs scored by {scorer.info.version}, {matches:,} matches: {output}")
