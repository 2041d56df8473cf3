"""The dbt-duckdb plug-in: settings are checked at once, students and teachers are loaded when called."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin

from distiller_udf.errors import SettingsError
from distiller_udf.registry import Registry

MODULE = "distiller_udf.plugin"


@pytest.fixture(autouse=True)
def no_dbt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dbt command is running, whatever another test has run in this process."""
    monkeypatch.setattr(f"{MODULE}.get_flags", SimpleNamespace)


def create(config: dict[str, Any], **credentials: Any) -> BasePlugin:
    creds = DuckDBCredentials.from_dict({"path": ":memory:", "database": "memory", "schema": "main", **credentials})
    return BasePlugin.create(MODULE, config={**(creds.settings or {}), **config}, credentials=creds)


def connected(plugin: BasePlugin) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    plugin.configure_connection(connection)
    return connection


def test_functions_are_there_before_any_student(tmp_path: Path) -> None:
    connection = connected(create({"students_path": str(tmp_path)}))
    assert "no student" in connection.sql("select er_version()").fetchall()[0][0]
    with pytest.raises(duckdb.Error, match="train one with `dbt build`"):
        connection.sql("select er_match('a', 'b')").fetchall()


def test_the_current_student_answers(students: Registry) -> None:
    connection = connected(create({"students_path": str(students.root)}))
    assert str(students.current_version()) in connection.cursor().sql("select er_version()").fetchall()[0][0]


def test_a_given_student_answers(student_folder: Path) -> None:
    connection = connected(create({"student_path": str(student_folder), "strict": True}))
    with pytest.raises(duckdb.Error, match="strict mode is on"):
        connection.sql("select er_score(null, 'b')").fetchall()


def test_an_unknown_setting_names_the_closest_one() -> None:
    with pytest.raises(SettingsError, match="there is no setting student_pth; did you mean student_path"):
        create({"student_pth": "x"})


def test_a_wrong_value_lists_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match="Allowed: true, false"):
        create({"strict": "maybe"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"teacher": "gpt"}, 'teacher is "gpt". Allowed: embedded, openai, vllm, encoder, imported'),
        ({"student_path": ["a"]}, 'student_path is ["a"]. Allowed: a text.'),
        ({"teachers": [{"modell": "m"}]}, 'entry 1 of teachers has "modell"; did you mean model?'),
        ({"llm_engine": "server"}, "needs llm_base_url"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_at_once(config: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        create(config)


def test_what_the_config_leaves_out_comes_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"er_teacher": "openai", "er_teacher_model": "m", "er_budget_calls": 7, "other": 2}
    own = {"er_private_columns": ["phone"]}
    project = {"name": "mine", "vars": {**variables, "distiller_udf": own}}
    (tmp_path / "dbt_project.yml").write_text(json.dumps(project))
    flags = SimpleNamespace(PROJECT_DIR=str(tmp_path), VARS={"er_budget_calls": 9})
    monkeypatch.setattr("distiller_udf.plugin.get_flags", lambda: flags)
    settings = create({"teacher_model": "ours", "students_path": "own"}).settings()
    assert settings.teacher == "openai"
    assert settings.teacher_model == "ours", "the config comes first"
    assert (settings.budget_calls, settings.private_columns) == (9, ["phone"])
    assert settings.label_store == str(tmp_path / "distiller/labels.sqlite")
    assert settings.students_path == str(tmp_path / "own"), "the config's paths are the project's too"


def test_settings_may_be_null() -> None:
    create(dict.fromkeys(["teacher", "teacher_model", "teacher_timeout", "students_path", "label_store"]))


def test_settings_of_the_connection_are_not_ours() -> None:
    create({}, settings={"memory_limit": "1GB"})


def test_er_label_asks_the_configured_teacher_lazily(tmp_path: Path) -> None:
    plugin = create({"teacher": "openai", "label_store": str(tmp_path / "labels.sqlite")})
    connection = connected(plugin)
    with pytest.raises(duckdb.Error, match="needs er_teacher_model"):
        connection.sql("select er_label('a', ['b'])").fetchall()
