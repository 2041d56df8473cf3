"""Settings: declared in `declared.py`, checked by their `rules.py`, written into dbt and the docs by `written.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from distiller_udf.constraint import Constraint
from distiller_udf.errors import SettingsError, one_of
from distiller_udf.settings.blocking import check_ways
from distiller_udf.settings.check import check_all, missing
from distiller_udf.settings.declared import DEFAULT_ENCODER, MAX_ORDERS, Declared, Group, Task
from distiller_udf.settings.rules import TEACHER, rules, rules_of
from distiller_udf.settings.training import FINE_TUNING, CommonSettings, LLMSettings

__all__ = ["DEFAULT_ENCODER", "MAX_ORDERS", "PREFIX", "TEACHER", "Settings", "Task", "checked", "place_of"]

PREFIX = "er_"
"""How dbt calls a setting: this, and its name."""

SERVED = ("vllm",)
"""Teachers whose model may be a folder of the project; a server's is only a name."""


Chosen = TypeVar("Chosen", bound=CommonSettings)


class Settings(Declared):
    """All settings of a project, checked; what is not given has its default."""

    @classmethod
    def of(cls, given: Mapping[str, Any], prefix: str = "") -> Settings:
        """Check the settings that are given by their names, which begin with `prefix`; other names are an error.

        Raises SettingsError for an unknown name or a value that is not allowed, with what is.
        """
        check_all(given, rules(), prefix)
        settings = cls(**{name.removeprefix(prefix): value for name, value in given.items()})
        ways = settings.model_dump(include={"blocking", "blocking_rules"})
        check_ways(ways["blocking"], ways["blocking_rules"])
        return settings

    def but(self, given: Mapping[str, Any]) -> Settings:
        """These settings with others in their place. Raises SettingsError as `of` does."""
        return Settings.of({**self.model_dump(exclude_unset=True), **given})

    @property
    def source_names(self) -> list[str]:
        """The names of the sources, in the order in which they are declared."""
        return [source.name for source in self.sources or ()]

    @property
    def resolved_task(self) -> Task:
        """What er_task auto stands for: dedupe where there is one source, link otherwise."""
        if self.task != "auto":
            return self.task
        return "dedupe" if len(self.sources or ()) == 1 else "link"

    @property
    def resolved_constraint(self) -> Constraint:
        """What er_constraint auto stands for: one_to_one for link, none otherwise."""
        if self.constraint != "auto":
            return Constraint(self.constraint)
        return Constraint.ONE_TO_ONE if self.resolved_task == "link" else Constraint.NONE

    @property
    def known_constraint(self) -> Constraint | None:
        """The constraint, where there are sources or a setting that says it; None where nothing does."""
        is_said = self.sources or self.task != "auto" or self.constraint != "auto"
        return self.resolved_constraint if is_said else None

    def placed(self, folder: Path) -> Settings:
        """These settings with their files and folders as seen from anywhere: relative ones are in `folder`.

        A model is a folder where there is one of this name; any other name is the id of a model on the hub.
        """
        found = {name: _placed(getattr(self, name), place_of(name), folder) for name in rules() if place_of(name)}
        if self.teacher in SERVED or self.teacher_base in SERVED:
            found["teacher_model"] = _placed(self.teacher_model, "model", folder)
        if self.llm_training:
            found["llm_training"] = {
                key: _placed(value, place_of(key, LLMSettings), folder) for key, value in self.llm_training.items()
            }
        if self.teachers:
            found["teachers"] = [self._placed_entry(entry, folder) for entry in self.teachers]
        return self.model_copy(update=found)

    def _placed_entry(self, entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        served = entry.get("teacher", self.teacher) in SERVED or entry.get("base", self.teacher_base) in SERVED

        def place(key: str) -> str:
            return "model" if key == "model" and served else place_of(TEACHER + key)

        return {key: _placed(value, place(key), folder) for key, value in entry.items()}

    def check_needs(self) -> None:
        """Raise SettingsError where a setting is missing that another one needs."""
        if said := missing(self.model_dump()):
            raise SettingsError(said)


def checked(group: type[Chosen], given: Mapping[str, Any] | None) -> Chosen:
    """The settings of a training, checked; those of a language model are of the method that they name.

    Raises SettingsError for an unknown name or a value that is not allowed, with what is.
    """
    values = dict(given or {})
    if group is LLMSettings:
        group = cast("type[Chosen]", FINE_TUNING[one_of("method", values.get("method", "sft"), FINE_TUNING)])
    check_all(values, rules_of(group))
    return group(**values)


def place_of(name: str, group: type[Group] = Declared) -> str:
    """`path`, `model` or `student` where a setting names a file or folder, a model, a student; else an empty text."""
    field = group.model_fields.get(name)
    extra = field.json_schema_extra if field is not None else None
    return str(extra.get("place", "")) if isinstance(extra, dict) else ""


def _placed(value: Any, place: str, folder: Path) -> Any:
    if not isinstance(value, str) or not place:
        return value
    there = (folder / Path(value).expanduser()).absolute()
    return str(there) if place == "path" or there.is_dir() else value
