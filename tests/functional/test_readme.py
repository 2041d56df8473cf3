"""The README is tested: its commands and code run, its links lead somewhere, its demo is the demo."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import make_people

from benchmarks.typo_task import save_small_llm
from distiller_udf.udf import Functions

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SQL = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
ELSEWHERE = ("make ", "pip install ")
"""Commands that set up an environment; `make -n` and the demo below stand for them."""


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def commands() -> list[str]:
    """Every command line of the README's bash blocks, without its comment."""
    lines = [line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line]


def run(command: list[str] | str, folder: Path, codes: tuple[int, ...] = (0,)) -> str:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DBT_PROFILES_DIR": str(folder)}
    shell = isinstance(command, str)
    done = subprocess.run(
        command, cwd=folder, env=environment, shell=shell, capture_output=True, text=True, check=False
    )
    assert done.returncode in codes, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example project, copied and run as `make demo` runs it."""
    folder = tmp_path_factory.mktemp("demo")
    ignored = shutil.ignore_patterns("target", "dbt_packages", "logs", "distiller", "*.duckdb", "demo_summary.json")
    shutil.copytree(ROOT / "dbt_project", folder / "dbt_project", ignore=ignored)
    (folder / "dbt_project" / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": str(ROOT)}]}))
    run([sys.executable, "dbt_project/run_demo.py"], folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dbt project of somebody else, with two staging models and nothing of ours."""
    folder = tmp_path_factory.mktemp("project")
    people = make_people(80)
    columns = ("key", "name", "town", "born")
    for name, key, rows in (("crm", "customer_id", people.left), ("shop", "id", people.right)):
        lines = [",".join([key, *columns[1:]])]
        lines += [",".join([str(i), *(row[c] or "" for c in columns[1:])]) for i, row in enumerate(rows)]
        (folder / "seeds").mkdir(exist_ok=True)
        (folder / "seeds" / f"raw_{name}.csv").write_text("\n".join(lines) + "\n")
        (folder / "models").mkdir(exist_ok=True)
        model = f"select {key}, name, town as city, born from {{{{ ref('raw_{name}') }}}}"
        (folder / "models" / f"stg_{name}.sql").write_text(model)
    settings = {
        "name": "mine",
        "profile": "mine",
        "flags": {"send_anonymous_usage_stats": False},
        "vars": {"er_llm_training": {"steps": 4}},
    }
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    output = {"type": "duckdb", "path": "mine.duckdb", "threads": 2}
    (folder / "profiles.yml").write_text(yaml.safe_dump({"mine": {"target": "dev", "outputs": {"dev": output}}}))
    answers = [{"left_id": i, "options": [i, i + 1, i + 2], "answer": i % 3 and 1, "teacher": "us"} for i in range(60)]
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    return folder


def test_make_knows_the_targets() -> None:
    targets = {line.split()[1] for line in commands() if line.startswith("make ")}
    assert {"demo", "test"} <= targets
    for target in targets:
        run(["make", "-n", target], ROOT)


def test_the_demo_reaches_what_it_promises(demo: Path) -> None:
    summary = json.loads((demo / "dbt_project" / "demo_summary.json").read_text())
    assert summary["records"] == 10_000
    assert summary["f1"] >= 0.999
    assert summary["blocking_recall"] >= 0.999
    assert summary["labels"] == 500
    assert summary["entities"] > 0
    assert {"candidate_pairs", "precision", "recall", "seconds"} <= summary.keys()


def test_python_blocks_run(demo: Path) -> None:
    code = [*blocks("python"), *blocks("python", SQL), *(f'connection.sql("""{q}""")' for q in blocks("sql", SQL))]
    assert len(code) == 5
    assert "rec-" in run([sys.executable, "-c", "\n".join(code)], demo)


def test_commands_run_in_the_order_given(project: Path) -> None:
    ran = []
    save_small_llm(project / "base", width=64, layers=2)
    for line in commands():
        if not line.startswith(ELSEWHERE):
            # A model that is made here stands for the one on the hub.
            codes = (0, 10, 20) if "retrain" in line else (0,)
            run(line.replace("Qwen/Qwen2.5-7B-Instruct", "base"), project, codes)
            ran.append(line.split()[0])
    assert {"distiller", "dbt"} <= set(ran)


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.search(r"<!-- (?!settings|end of settings)|TODO|TBD", README)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_sql_function_is_listed() -> None:
    for name in vars(Functions):
        if name.startswith("er_"):
            assert f"`{name}(" in README, name
            assert f"`{name}(" in SQL, name


def test_listed_variables_exist() -> None:
    known = yaml.safe_load((ROOT / "dbt_project.yml").read_text())["vars"]
    others = {p.stem for p in (ROOT / "models").iterdir()} | {
        name for name in vars(Functions) if name.startswith("er_")
    }
    listed = set(re.findall(r"`(er_[a-z_]+)`", README)) - others
    assert listed
    assert listed <= set(known)
