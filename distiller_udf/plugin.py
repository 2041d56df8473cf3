"""The dbt-duckdb plug-in: registers the SQL functions on dbt's connection. The only module that imports dbt.

# profiles.yml
plugins:
  - module: distiller_udf.plugin
    config: {students_path: distiller/students}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.flags import get_flags

from distiller_udf.current import CurrentStudent, CurrentTeacher
from distiller_udf.errors import SettingsError, check_names
from distiller_udf.teachers import SETTINGS as TEACHER_SETTINGS
from distiller_udf.teachers import check_settings, check_text
from distiller_udf.udf import Functions, register_functions

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.labels import LabelStore
    from distiller_udf.teachers.base import Teacher

DEFAULTS: Mapping[str, Any] = {
    "students_path": "distiller/students",
    "student_name": "default",
    "student_path": None,
    "label_store": "distiller/labels.sqlite",
    "strict": False,
    **TEACHER_SETTINGS,
}
"""Every setting of the plug-in, with its default. Paths are relative to the dbt project."""


def project_folder() -> Path:
    """The folder of the dbt project that is running, which relative paths start from; outside dbt, this folder."""
    folder = getattr(get_flags(), "PROJECT_DIR", None)
    return Path(folder) if folder else Path.cwd()


class Plugin(BasePlugin):  # type: ignore[misc]
    """Registers `er_match` and its siblings when dbt opens its connection; students and teachers load when called."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Check the settings. Raises SettingsError for an unknown name or a value of the wrong type."""
        own = dict(plugin_config)
        if self.creds is not None:
            # dbt-duckdb hands a plug-in the connection's own settings merged with its config.
            for name in set(self.creds.settings or {}) - set(DEFAULTS):
                own.pop(name, None)
        check_names("plug-in setting", own, DEFAULTS)
        self.settings: dict[str, Any] = {**DEFAULTS, **own}
        if not isinstance(self.settings["strict"], bool):
            raise SettingsError(f"the plug-in setting strict is {self.settings['strict']!r}; allowed: true, false")
        for name in ("students_path", "student_name", "student_path", "label_store"):
            if self.settings[name] is None:
                self.settings[name] = DEFAULTS[name]
            check_text(name, self.settings[name])
        check_settings(self.settings)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Register the functions; dbt calls this once, and every thread's cursor sees them."""
        source = self.settings["student_path"] or self.settings["students_path"]
        student = CurrentStudent(project_folder() / source, str(self.settings["student_name"]))
        ask = CurrentTeacher(self._ask) if self.settings["teacher"] else None
        register_functions(conn, Functions(student, ask, self.settings["strict"]))

    def _ask(self) -> tuple[Teacher, LabelStore]:
        from distiller_udf.labels import LabelStore
        from distiller_udf.teachers import make_teacher

        folder, prices = project_folder(), self.settings["teacher_prices"]
        settings = {**self.settings, "teacher_prices": folder / prices if prices else None}
        return make_teacher(settings), LabelStore(folder / self.settings["label_store"])
