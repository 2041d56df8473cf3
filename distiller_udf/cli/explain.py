"""`distiller explain`: why two records are a match or not."""

from __future__ import annotations

from dataclasses import asdict

import click

from distiller_udf.cli.console import json_option, print_json, print_table
from distiller_udf.cli.options import REGISTRY, opened_warehouse, with_project
from distiller_udf.project import Project


@click.command()
@click.argument("left")
@click.argument("right")
@with_project(REGISTRY, warehouse=True)
@json_option
def explain(project: Project, left: str, right: str, as_json: bool) -> None:
    """Say why the records LEFT and RIGHT are a match or not, in plain words, with both records beside each other.

    A record is given by its id, or as source:id where several sources have that id. What was decided is read from
    er_decisions; of a pair that is no candidate it is said what each way of blocking makes of it.
    """
    from distiller_udf.inquiry import Tables, inquire
    from distiller_udf.registry.current import CurrentStudent

    settings = project.settings
    warehouse = opened_warehouse(project)
    student = CurrentStudent.of(settings).get()
    with warehouse.connect() as connection:
        found = inquire(Tables(connection, warehouse), student, settings, left, right)
    if as_json:
        print_json(asdict(found))
        return
    names = list(dict.fromkeys([*found.left.values, *found.right.values]))
    rows = [[name, found.left.values.get(name, ""), found.right.values.get(name, "")] for name in names]
    print_table("", ["", found.left.name, found.right.name], rows)
    for sentence in filter(None, (found.verdict, *found.blocking, found.evidence)):
        click.echo(sentence)
