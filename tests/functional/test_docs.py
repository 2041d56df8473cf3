"""The how-to pages are tested: their commands run in order, their variables exist, their SQL is right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import make_people
from dbt_harness import Project
from fake_llm import fake_llm, same_born

from distiller_udf.settings.rules import rules

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEACHERS = (ROOT / "docs" / "teachers.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_exist(page: Path) -> None:
    known = set(yaml.safe_load((ROOT / "dbt_project.yml").read_text())["vars"])
    for block in blocks(page.read_text(encoding="utf-8"), "yaml"):
        assert set((yaml.safe_load(block) or {}).get("vars") or {}) <= known, block


def test_the_ways_of_blocking_are_as_written(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "blocking.md").read_text(encoding="utf-8")
    variables = yaml.safe_load(blocks(page, "yaml")[0])["vars"]
    people = "select 1 as id, 'x' as email, 'y' as surname, 'z' as first_name, 'w' as postcode"
    sources = [{"name": "people", "model": "people", "id": "id"}]
    project = Project(tmp_path, models={"people": people}, variables={**variables, "er_sources": sources})
    project.run("run", "--select", "people", "+er_blocking_estimate")
    assert [way for (way,) in project.query("select way from er_blocking_estimate")] == [
        "tokens", "qgrams", "lower(email)", "surname || first_name", "minhash", "embeddings", "near_in_postcode",
        "identical",
    ]  # fmt: skip


def test_every_value_that_is_allowed_is_explained() -> None:
    known = rules()
    for name in ("teacher", "teacher_ask", "teacher_reply", "vote", "selection_strategy"):
        for value in known[name]["values"]:
            assert f"`{value}`" in TEACHERS, (name, value)


def test_the_page_on_teachers_works_as_written(tmp_path: Path) -> None:
    people = make_people(60)
    rows = {"crm": people.left, "shop": people.right}
    with fake_llm(same_born) as llm:
        variables = yaml.safe_load(blocks(TEACHERS, "yaml")[0])["vars"]
        project = Project(
            tmp_path,
            seeds={
                name: "\n".join(
                    [
                        "id,name,town,born",
                        *(f"{i},{r['name']},{r['town'] or ''},{r['born']}" for i, r in enumerate(part)),
                    ]
                )
                for name, part in rows.items()
            },
            variables={
                **variables,
                "er_sources": [{"name": name, "model": name, "id": "id"} for name in rows],
                "er_teacher_base_url": llm.base_url,
            },
        )
        (tmp_path / "prices.json").write_text('{"qwen2.5:32b": {"input": 0.1, "output": 0.3}}')
        (tmp_path / "labels.csv").write_text("left_id,right_id,is_match\n0,0,1\n0,1,0\n")
        environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DBT_PROFILES_DIR": str(tmp_path),
        }
        said, calls = {}, {}
        # In a process of its own, as all that follows: this one would keep the database to itself.
        for block in ("dbt seed", *blocks(TEACHERS, "bash")):
            for line in block.splitlines():
                done = subprocess.run(
                    line, cwd=tmp_path, env=environment, shell=True, capture_output=True, text=True, check=False
                )
                said[line], calls[line] = done.stdout + done.stderr, len(llm.asked)
                assert done.returncode == 0, f"{line}\n{said[line][-3000:]}"
        dry, paid = (next(line for line in said if part in line) for part in ("dry-run", "budget-usd"))
        assert calls[dry] == 0
        assert "qwen2.5:32b" in said[dry]
        assert calls[paid] == 60
        assert calls[list(said)[-1]] == 60, "dbt found every answer in the store"
    for query in blocks(TEACHERS, "sql"):
        for statement in query.split(";")[:-1]:
            project.query(statement)
