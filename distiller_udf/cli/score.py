"""`distiller score`: pairs of records in a Parquet file, scores in another, by the same core as the UDFs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distiller_udf.cli.console import err, json_option, print_json, progress
from distiller_udf.cli.serving import serving_options

existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--left", type=existing, help="Left records: id and any columns.")
@click.option("--right", type=existing, help="Right records; default: the left ones.")
@click.option("--candidates", type=existing, help="Pairs to score: left_id, right_id.")
@click.option("--pairs", type=existing, help="Instead of the three: left_record and right_record as STRUCT or text.")
@click.option("--id", "id_column", default="id", show_default=True, help="The id column of the records.")
@click.option("--right-id", "right_id_column", help="The id column of the right records, if it is another one.")
@click.option("--student", type=click.Path(path_type=Path), default=Path("distiller/students"), show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True)
@serving_options
@json_option
def score(
    left: Path | None,
    right: Path | None,
    candidates: Path | None,
    pairs: Path | None,
    id_column: str,
    right_id_column: str | None,
    student: Path,
    output: Path,
    as_json: bool,
    **served: Any,
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
    scorer = CurrentStudent(student, serving=serving_of(served, Path())).get()
    with progress("scoring pairs", source.rows) as advance:
        rows, matches = write_scores(scorer, source, output, advance)
    if as_json:
        counts = {"pairs": rows, "matches": matches, "unknown": source.unknown}
        print_json({**counts, "student": scorer.info.version, "output": str(output)})
    else:
        err.print(f"{rows:,} pairs scored by {scorer.info.version}, {matches:,} matches: {output}")
