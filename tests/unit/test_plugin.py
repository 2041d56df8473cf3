"""The dbt-duckdb plug-in: settings are checked at once, students and teachers are loaded when called."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin

from distiller_udf.errors import SettingsError
from distiller_udf.plugin import DEFAULTS
from distiller_udf.registry import Registry

MODULE = "distiller_udf.plugin"


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
    with pytest.raises(SettingsError, match="unknown plug-in setting 'student_pth'; did you mean student_path"):
        create({"student_pth": "x"})


def test_a_wrong_value_lists_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match="allowed: true, false"):
        create({"strict": "maybe"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"teacher": "gpt"}, "teacher is 'gpt'; allowed: embedded, openai, vllm, encoder"),
        ({"students_path": 7}, "students_path is 7; it must be text"),
        ({"student_path": ["a"]}, r"student_path is \['a'\]; it must be text"),
        ({"student_name": ""}, "student_name is ''; it must be text"),
        ({"label_store": True}, "label_store is True; it must be text"),
        ({"teacher_model": 4}, "teacher_model is 4; it must be text"),
        ({"teacher_base_url": 8000}, "teacher_base_url is 8000; it must be text"),
        ({"teacher_api_key_env": 1.5}, "teacher_api_key_env is 1.5; it must be text"),
        ({"teacher_prices": {"m": 1}}, "teacher_prices is .*; it must be text"),
        ({"teacher_concurrency": "many"}, "teacher_concurrency is 'many'; it must be a number from 1 to 10000"),
        ({"teacher_concurrency": True}, "teacher_concurrency is True; it must be a number"),
        ({"teacher_timeout": 0}, "teacher_timeout is 0; it must be a number"),
        ({"teacher_parameters": "hot"}, "teacher_parameters is 'hot'; it must be a mapping"),
        ({"teacher_reply": "long"}, "teacher_reply is 'long'; allowed: explanation, confidence, answer, token"),
        ({"teacher_orders": 0}, "teacher_orders is 0; it must be a whole number from 1 to 100"),
        ({"teachers": []}, "teachers is a list, each entry such as"),
        ({"teachers": [{"modell": "m"}]}, "unknown entry of a teacher 'modell'; did you mean model"),
        ({"teachers": [{"model": "m", "reply": "x"}]}, "teacher_reply is 'x'"),
        ({"vote": "plurality"}, "vote is 'plurality'; allowed: majority, dawid_skene, unanimous"),
        ({"budget_usd": "much"}, "budget_usd is 'much'; it must be a number"),
        ({"budget_calls": -1}, "budget_calls is -1"),
        ({"private_columns": "name"}, "private_columns is 'name'; it must be a list of column names"),
        ({"local_only": "yes"}, "local_only is 'yes'; allowed: true, false"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_at_once(config: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        create(config)


def test_what_the_config_leaves_out_comes_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"er_teacher": "openai", "er_teacher_model": "m", "er_budget_calls": 7, "er_oops": 1, "other": 2}
    own = {"er_private_columns": ["phone"], "er_label_store": None}
    project = {"name": "mine", "vars": {**variables, "distiller_udf": own}}
    (tmp_path / "dbt_project.yml").write_text(json.dumps(project))
    flags = SimpleNamespace(PROJECT_DIR=str(tmp_path), VARS={"er_budget_calls": 9})
    monkeypatch.setattr("distiller_udf.plugin.get_flags", lambda: flags)
    settings = create({"teacher_model": "ours"}).settings()
    assert settings["teacher"] == "openai"
    assert settings["teacher_model"] == "ours", "the config comes first"
    assert (settings["budget_calls"], settings["private_columns"]) == (9, ["phone"])
    assert settings["label_store"] == "distiller/labels.sqlite"
    assert set(settings) == set(DEFAULTS)


def test_settings_may_be_null() -> None:
    create(dict.fromkeys(["teacher", "teacher_model", "teacher_timeout", "students_path", "label_store"]))


def test_settings_of_the_connection_are_not_ours() -> None:
    create({}, settings={"memory_limit": "1GB"})


def test_er_label_asks_the_configured_teacher_lazily(tmp_path: Path) -> None:
    plugin = create({"teacher": "openai", "label_store": str(tmp_path / "labels.sqlite")})
    connection = connected(plugin)
    with pytest.raises(duckdb.Error, match="needs a teacher_model"):
        connection.sql("select er_label('a', ['b'])").fetchall()
