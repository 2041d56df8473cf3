"""`distiller explain`: why two records are a match or not."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from distiller_udf.cli.console import json_option, print_json, print_table
from distiller_udf.cli.options import REGISTRY, opened_warehouse, with_project
from distiller_udf.project import Project

if TYPE_CHECKING:
    from distiller_udf.inquiry import Inquiry


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
    print_table("", ["", found.left.name, found.right.name], beside(found))
    for sentence in filter(None, (found.verdict, *found.labels, *found.blocking, found.evidence)):
        click.echo(sentence)


def beside(found: Inquiry) -> list[list[str]]:
    """The records' values, a row a column, or two that are compared with each other."""
    left, right = found.left.values, found.right.values
    named_else = {
        one: other
        for one, other in found.compared
        if one != other and one in left and other in right and one not in right and other not in left
    }
    rows = []
    for name in dict.fromkeys([*left, *right]):
        if name in named_else:
            rows.append([f"{name} | {named_else[name]}", left[name], right[named_else[name]]])
        elif name not in named_else.values():
            rows.append([name, left.get(name, ""), right.get(name, "")])
    return rows
