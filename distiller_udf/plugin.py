"""The dbt-duckdb plug-in: registers the SQL functions on dbt's connection. The only module that imports dbt.

# profiles.yml
plugins:
  - module: distiller_udf.plugin
    config: {students_path: distiller/students}
"""

from __future__ import annotations

import logging
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
from distiller_udf.labels.run import CurrentTeacher, make_run
from distiller_udf.project import PROJECT_FILE, Project
from distiller_udf.registry.current import CurrentStudent
from distiller_udf.settings import Settings
from distiller_udf.students.llm import serving_of
from distiller_udf.udf import Functions, register_functions

if TYPE_CHECKING:
    import duckdb

    from distiller_udf.labels import Run


def project_folder() -> Path:
    """The folder of the dbt project that is running, which relative paths start from; outside dbt, this folder."""
    folder = getattr(get_flags(), "PROJECT_DIR", None)
    return Path(folder) if folder else Path.cwd()


def running() -> Project:
    """The project of the dbt command that is running, with the command's own --vars."""
    folder = project_folder()
    flags = get_flags()
    given, profiles = getattr(flags, "VARS", None) or {}, getattr(flags, "PROFILES_DIR", None)
    return Project.of(
        folder if (folder / PROJECT_FILE).exists() else None,
        variables=given,
        profiles_dir=Path(profiles) if profiles else None,
        target=getattr(flags, "TARGET", None),
    )


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
    """Registers `er_match` and its siblings when dbt opens its connection; students and teachers load when called.

    Its config may have any setting by its name, for the functions alone. What it leaves out comes from the project's
    er_* variables, so that functions and models go by the same student, store, budget and private columns.
    """

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Check the settings. Raises SettingsError for an unknown name or a value that is not allowed."""
        _log_to_dbt()
        own = dict(plugin_config)
        if self.creds is not None:
            # dbt-duckdb hands a plug-in the connection's own settings merged with its config.
            for name in set(self.creds.settings or {}) - set(Settings.model_fields):
                own.pop(name, None)
        self.own = {name: value for name, value in own.items() if value is not None}
        serving_of(Settings.of(self.own))

    def settings(self) -> Settings:
        """The settings of the dbt command that is running: the config's, else the project's, else the defaults."""
        mine = Settings.of(self.own).placed(project_folder())
        return running().settings.but({name: getattr(mine, name) for name in self.own})

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Register the functions; dbt calls this once, and every thread's cursor sees them."""
        settings = self.settings()
        teacher = CurrentTeacher(self._ask, invocation)
        register_functions(conn, Functions(CurrentStudent.of(settings), teacher, settings.strict))

    def _ask(self) -> Run:
        # Here and not before: a connection may outlive a dbt command and its --vars.
        return make_run(self.settings(), ledger_of(invocation()))
