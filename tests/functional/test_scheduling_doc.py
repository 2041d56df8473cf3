"""docs/scheduling.md works as written: its cron line is run, twice and once killed; what it names exists and parses."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import yaml
from conftest import make_people
from dbt_harness import Project

from distiller_udf.cli import main
from distiller_udf.registry import Registry
from distiller_udf.students import load_student

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
PLACE, WAREHOUSE = "/srv/shop", "shop.duckdb"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def csv(rows: list[dict[str, str | None]]) -> str:
    lines = [f"{i},{row['name']},{row['town'] or ''},{row['born']}" for i, row in enumerate(rows)]
    return "key,name,town,born\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the page's own variables that has a first student, and more records to ask the teacher about."""
    people = make_people(80)
    folder = tmp_path_factory.mktemp("shop")
    variables = {
        **yaml.safe_load(blocks("yaml")[0])["vars"],
        "er_sources": [{"name": name, "model": name, "id": "key"} for name in "lr"],
        "er_selection_minimum": 0,
        "er_selection_share": 0.5,
        "er_evaluation_share": 0.3,
    }
    Project(
        folder,
        seeds={"l": csv(people.left), "r": csv(people.right)},
        variables=variables,
        output={"path": WAREHOUSE},
    )
    done(start("dbt build", folder))
    settings = folder / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("er_selection_share: 0.5", "er_selection_share: 0.9"))
    return folder


def start(command: str, folder: Path) -> subprocess.Popen[str]:
    """Run a line of the page as cron would, in the project's folder."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen(
        command.replace(PLACE, shlex.quote(str(folder))),
        cwd=folder,
        env=environment,
        shell=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def done(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate()
    assert process.returncode == code, said[-3000:]
    return said


def cron_line() -> str:
    """The command of the page's one cron entry, behind its five times."""
    (line,) = blocks("cron")
    times, command = line.split()[:5], line.split(maxsplit=5)[5].strip()
    assert all(re.fullmatch(r"[\d*,/-]+", part) for part in times)
    return command


def test_the_cron_line_is_killed_once_and_run_twice(shop: Path) -> None:
    registry = Registry(shop / "distiller" / "students")
    first = registry.current_version()
    killed = start(cron_line(), shop)
    holder = shop / "distiller" / "students" / ".locks" / "default.retraining.json"
    while not holder.exists():
        assert killed.poll() is None, "it ended before it retrained"
        time.sleep(0.01)
    time.sleep(0.3)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert load_student(registry.current()).info.version == first
    assert "takes the place of" in done(start(cron_line(), shop))
    second = registry.current_version()
    assert second != first
    assert "Nothing new" in done(start(cron_line(), shop), code=10)
    assert registry.current_version() == second


def test_the_workflow_parses_and_its_script_tells_the_outcomes_apart(shop: Path, tmp_path: Path) -> None:
    workflow = yaml.safe_load(blocks("yaml")[1])
    (job,) = workflow["jobs"].values()
    assert {"schedule", "workflow_dispatch"} == set(workflow[True])  # YAML 1.1 reads `on` as true
    (step,) = [step for step in job["steps"] if step.get("id") == "retrain"]
    conditions = [step["if"] for step in job["steps"] if "if" in step]
    assert conditions == [f"steps.retrain.outputs.code == '{code}'" for code in (0, 20)]
    for code, expected in ((0, 0), (10, 0), (20, 0), (1, 1)):
        stub = tmp_path / "distiller"
        stub.write_text(f"#!/bin/sh\nexit {code}\n")
        stub.chmod(0o755)
        output = tmp_path / "output"
        environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "GITHUB_OUTPUT": str(output)}
        ran = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environment, check=False)
        assert (ran.returncode, output.read_text()) == (expected, f"code={code}\n")
        output.unlink()


def test_the_dag_parses_and_ends_in_the_order_of_the_page() -> None:
    (source,) = blocks("python")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    given = [{k.arg: getattr(k.value, "value", None) for k in call.keywords} for call in calls]
    tasks = {task["task_id"]: task for task in given if "task_id" in task}
    assert tasks["retrain"]["skip_on_exit_code"] == 10
    assert [task["bash_command"].split("&& ")[1].split()[0] for task in tasks.values()] == ["dbt", "distiller", "dbt"]
    assert "build >> retrain >> serve" in source


def test_every_command_and_option_exists() -> None:
    """In blocks and in running text alike."""
    named = re.findall(r"distiller ((?:[a-z-]+ ?)+)((?:[^`\n&|;>]*))", PAGE)
    assert len(named) > 10
    for words, rest in named:
        command: click.Command = main
        context = click.Context(main)
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            found = command.get_command(context, word)
            assert found is not None, f"distiller {words}"
            command = found
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"distiller {words}{rest}"


def test_the_tests_of_the_page_are_there() -> None:
    for block in blocks("sql"):
        (name,) = re.findall(r"distiller_udf\.test_(\w+)\(", block)
        assert (ROOT / "macros" / "tests" / f"{name}.sql").exists()


def test_the_exit_codes_are_those_of_the_command() -> None:
    from distiller_udf.cli.drift import EXITS as DRIFT_EXITS
    from distiller_udf.cli.drift import drift
    from distiller_udf.cli.retrain import EXITS, retrain

    of_retrain, of_drift = re.findall(r"^\| exit code of .*\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    assert {int(code) for code in re.findall(r"^\| (\d+)", of_retrain, re.MULTILINE)} == {*EXITS.values(), 1, 2}
    assert {int(code) for code in re.findall(r"^\| (\d+)", of_drift, re.MULTILINE)} == {*DRIFT_EXITS.values()}
    for command, codes in ((retrain, EXITS), (drift, DRIFT_EXITS)):
        for code in codes.values():
            assert re.search(rf"^ *{code} ", str(command.help), flags=re.MULTILINE)


def test_every_variable_of_the_schedule_is_explained() -> None:
    known = yaml.safe_load((ROOT / "dbt_project.yml").read_text())["vars"]
    for name in known:
        if name.startswith(("er_promotion", "er_evaluation", "er_calibration", "er_training", "er_drift")):
            assert f"`{name}" in PAGE or f"{name}:" in PAGE, name
