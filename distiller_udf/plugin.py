"""The dbt-duckdb plug-in: registers the SQL functions on dbt's connection. The only module that imports dbt.

# profiles.yml
plugins:
  - module: distiller_udf.plugin
    config: {students_path: distiller/students}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.flags import get_flags
from dbt_common.events.base_types import EventLevel, EventMsg
from dbt_common.events.event_manager_client import get_event_manager
from dbt_common.events.functions import fire_event
from dbt_common.events.types import Note
from dbt_common.invocation import get_invocation_id

from distiller_udf.budget import ledger_of
from distiller_udf.current import CurrentStudent, CurrentTeacher
from distiller_udf.errors import SettingsError, TeacherError, check_names
from distiller_udf.labelling.run import SETTINGS as RUN_SETTINGS
from distiller_udf.labelling.run import check_run_settings, make_run
from distiller_udf.project import Project
from distiller_udf.students.llm import SETTINGS as SERVING_SETTINGS
from distiller_udf.students.llm import serving_of
from distiller_udf.teachers import check_text
from distiller_udf.udf import NO_TEACHER, Functions, register_functions

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.labelling import Run

DEFAULTS: Mapping[str, Any] = {
    "students_path": "distiller/students",
    "student_name": "default",
    "student_path": None,
    "strict": False,
    **SERVING_SETTINGS,
    **RUN_SETTINGS,
}
"""Every setting of the plug-in, with its default. Paths are relative to the dbt project.

What its config leaves out comes from the project's er_* variables, so that the SQL functions and the models go by the
same student, the same store, the same budget and the same private columns.
"""


def project_folder() -> Path:
    """The folder of the dbt project that is running, which relative paths start from; outside dbt, this folder."""
    folder = getattr(get_flags(), "PROJECT_DIR", None)
    return Path(folder) if folder else Path.cwd()


def invocation() -> str:
    """The id of the dbt command that is running: what it asks shares one budget, and stops when it is interrupted."""
    callbacks = get_event_manager().callbacks
    if _stop_asking not in callbacks:  # dbt clears them before every command
        callbacks.append(_stop_asking)
    return str(get_invocation_id())


def _stop_asking(event: EventMsg) -> None:
    """On Ctrl-C dbt waits for its models to end: end the one that asks and pays."""
    if event.info.name in ("LogCancelLine", "QueryCancelationUnsupported"):
        ledger_of(str(get_invocation_id())).stop("dbt was interrupted; what was answered is kept")


class _DbtLog(logging.Handler):
    """Our log lines as lines of dbt's own log, where whoever runs dbt sees them."""

    def emit(self, record: logging.LogRecord) -> None:
        level = EventLevel.WARN if record.levelno >= logging.WARNING else EventLevel.INFO
        fire_event(Note(msg=record.getMessage()), level=level)


def _log_to_dbt() -> None:
    logger = logging.getLogger("distiller_udf")
    if not any(isinstance(handler, _DbtLog) for handler in logger.handlers):
        logger.addHandler(_DbtLog(logging.INFO))
        logger.setLevel(logging.INFO)
        logger.propagate = False  # a root logger that writes to the terminal would say everything twice


class Plugin(BasePlugin):  # type: ignore[misc]
    """Registers `er_match` and its siblings when dbt opens its connection; students and teachers load when called."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Check the settings. Raises SettingsError for an unknown name or a value of the wrong type."""
        _log_to_dbt()
        own = dict(plugin_config)
        if self.creds is not None:
            # dbt-duckdb hands a plug-in the connection's own settings merged with its config.
            for name in set(self.creds.settings or {}) - set(DEFAULTS):
                own.pop(name, None)
        check_names("plug-in setting", own, DEFAULTS)
        self.own = {name: value for name, value in own.items() if value is not None}
        if not isinstance(self.own.get("strict", False), bool):
            raise SettingsError(f"the plug-in setting strict is {self.own['strict']!r}; allowed: true, false")
        for name in ("students_path", "student_name", "student_path"):
            check_text(name, self.own.get(name))
        check_run_settings({**DEFAULTS, **self.own})
        serving_of(self.own, project_folder())

    def settings(self) -> dict[str, Any]:
        """The settings of the dbt command that is running: the config's, else the project's, else the defaults."""
        return {**DEFAULTS, **_variables(), **self.own}

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Register the functions; dbt calls this once, and every thread's cursor sees them."""
        settings = self.settings()
        source = settings["student_path"] or settings["students_path"]
        serving = serving_of(settings, project_folder())
        student = CurrentStudent(project_folder() / source, str(settings["student_name"]), serving)
        teacher = CurrentTeacher(self._ask, invocation)
        register_functions(conn, Functions(student, teacher, settings["strict"]))

    def _ask(self) -> Run:
        # Here and not before: a connection may outlive a dbt command and its --vars.
        settings = self.settings()
        if not (settings["teacher"] or settings["teachers"]):
            raise TeacherError(NO_TEACHER)
        return make_run(settings, project_folder(), ledger_of(invocation()))


def _variables() -> dict[str, Any]:
    """The er_* variables of the dbt command that is running, without er_, as far as they are settings of the plug-in.

    The models check them all; here the wrong ones are passed over.
    """
    folder = project_folder()
    given = Project(folder).given_variables() if (folder / "dbt_project.yml").exists() else {}
    given |= getattr(get_flags(), "VARS", None) or {}
    known = {str(name).removeprefix("er_"): value for name, value in given.items() if str(name).startswith("er_")}
    return {name: value for name, value in known.items() if name in DEFAULTS and value is not None}
