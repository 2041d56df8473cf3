"""What became of dbt's last run, as dbt itself has written it down."""

from __future__ import annotations

import json
from dataclasses import dataclass

from distiller_udf.project.files import ProjectFiles

FAILED = ("error", "fail", "runtime error", "partial success")


@dataclass(frozen=True)
class LastRun:
    """The last run: its command, what failed with the first line that says why, and how many nodes were skipped."""

    command: str
    failed: tuple[tuple[str, str], ...]
    skipped: int


def last_run(files: ProjectFiles) -> LastRun | None:
    """The last run of a project; None where there is none that can be read."""
    try:
        content = json.loads((files.target / "run_results.json").read_text(encoding="utf-8"))
        results = [
            (result["unique_id"], result["status"], result.get("message") or "") for result in content["results"]
        ]
        command = f"dbt {content['args']['which']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None
    failed = tuple((_name(node), _why(message)) for node, status, message in results if status in FAILED)
    return LastRun(command, failed, sum(status == "skipped" for _, status, _ in results))


def _name(unique_id: str) -> str:
    """A node's name: `model.project.name`, or a test's with a hash behind it."""
    kind, _, name, *_ = [*unique_id.split("."), "", ""]
    return f"the test {name}" if kind.endswith("test") else name


def _why(message: str) -> str:
    """The line of dbt's message that says why: not where it was, nor the traceback of a Python model."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1]
    return next((line for line in lines if " Error in " not in line), "no message")
