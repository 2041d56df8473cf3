"""The er_* settings that the commands of the schedule go by, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distiller_udf.cli.console import with_options
from distiller_udf.cli.warehouse import database_option, schema_option
from distiller_udf.errors import SettingsError, one_of
from distiller_udf.registry import Registry
from distiller_udf.students import KINDS
from distiller_udf.votes import METHODS

if TYPE_CHECKING:
    from distiller_udf.training.schedule.rule import Margins

folder = click.Path(file_okay=False, path_type=Path)
file = click.Path(exists=True, dir_okay=False, path_type=Path)

project_option = click.option(
    "--project-dir",
    type=folder,
    help="The dbt project whose er_* variables count.  [default: the one that --database is in, or this folder]",
)
variables_option = click.option(
    "--vars", "variables", metavar="YAML", default="", help="More er_* variables, as dbt takes them."
)
students_option = click.option("--students", "students_path", type=folder, help="Instead of er_students_path.")
name_option = click.option("--name", "student_name", help="Instead of er_student_name.")
gold_option = click.option(
    "--gold", type=file, help="Known matches as Parquet (left_id, right_id), instead of er_gold."
)

scales_options = with_options(
    database_option,
    schema_option,
    click.option("--labels", type=file, help="Instead of --database: labels as Parquet, in the shape of er_labels."),
    click.option("--pairs", type=file, help="With --labels: all pairs as Parquet, in the shape of er_pairs."),
    gold_option,
    project_option,
    variables_option,
    students_option,
    name_option,
)
"""The options of every command that weighs students: what they decide, what judges them, and whose settings."""


CHOICES = {
    "student": tuple(KINDS),
    "vote": tuple(METHODS),
    "constraint": ("auto", "one_to_one", "many_to_one", "none"),
    "task": ("auto", "link", "dedupe", "link_and_dedupe"),
}
RANGES = {
    "evaluation_share": (0.0, 0.9),
    "promotion_margin": (0.0, 1.0),
    "promotion_risk": (0.0, 1.0),
    "calibration_margin": (0.0, 1.0),
    "promotion_max_change": (0.0, 1.0),
    "threshold": (0.0, 1.0),
    "drift_psi": (0.0, 100.0),
    "drift_tuples": (1.0, 1e6),
}
NULLABLE = {"promotion_max_change", "threshold"}


def check(settings: Mapping[str, Any]) -> None:
    """Raise SettingsError for a setting of the schedule that has no possible value."""
    for name, allowed in CHOICES.items():
        one_of(f"er_{name}", settings[name], allowed)
    for name, (least, most) in RANGES.items():
        value = settings[name]
        if value is None and name in NULLABLE:
            continue
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not least <= value <= most:
            raise SettingsError(f"er_{name} is {value!r}; it must be a number from {least:g} to {most:g}")


def margins(settings: Mapping[str, Any]) -> Margins:
    """The margins of the rule."""
    from distiller_udf.training.schedule.rule import Margins

    return Margins(
        f1=settings["promotion_margin"],
        risk=settings["promotion_risk"],
        calibration=settings["calibration_margin"],
        change=settings["promotion_max_change"],
    )


def registry_of(settings: Mapping[str, Any], folder: Path) -> Registry:
    """The registry that the settings name; relative paths start at `folder`. Raises SettingsError."""
    return Registry(folder / str(settings["students_path"]), str(settings["student_name"]))
