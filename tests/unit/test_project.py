"""A dbt project's files: changed in place, as private as they were, and the dbt package found wherever pip put it."""

from __future__ import annotations

import json
import stat
from importlib import metadata
from pathlib import Path

import pytest
from dbt.clients.yaml_helper import load_yaml_text

from distiller_udf.errors import SettingsError
from distiller_udf.project import Project
from distiller_udf.project import files as project_files
from distiller_udf.project.files import ProjectFiles, installed_package, read_variables
from distiller_udf.project.results import LastRun, last_run
from distiller_udf.settings import Settings
from tests.unit.commands import run, run_json

PROFILES = "mine:\n  outputs:\n    dev: {type: duckdb, path: w.duckdb}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dbt_project.yml").write_text("name: mine\nprofile: mine\n")
    (folder / "profiles.yml").write_text(PROFILES)
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("private", [0o600, 0o640, 0o644])
def test_a_changed_file_keeps_its_mode(folder: Path, private: int) -> None:
    profiles = folder / "profiles.yml"
    profiles.chmod(private)
    assert ProjectFiles(folder).add_plugin("mine", {"dev": "duckdb"}) == ["dev"]
    assert mode(profiles) == private
    assert [path.name for path in folder.glob(".*")] == []


def test_a_new_file_has_the_usual_mode(folder: Path) -> None:
    ProjectFiles(folder).add_package("https://host.example/distiller-udf.git")
    usual = folder / "usual"
    usual.touch()
    assert mode(folder / "packages.yml") == mode(usual)


def test_a_link_stays_a_link(folder: Path, tmp_path: Path) -> None:
    profiles, target = folder / "profiles.yml", tmp_path / "dotfiles.yml"
    target.write_text(PROFILES)
    profiles.unlink()
    profiles.symlink_to(target)
    ProjectFiles(folder).add_plugin("mine", {"dev": "duckdb"})
    assert profiles.is_symlink()
    assert "distiller_udf.plugin" in target.read_text()


def test_the_package_is_found_where_pip_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of `pip install --user`: the data lie in ~/.local/share, not in the interpreter's prefix."""
    site, share = tmp_path / "lib" / "python3" / "site-packages", tmp_path / "share" / "distiller_udf"
    (info := site / "distiller_udf-9.dist-info").mkdir(parents=True)
    share.mkdir(parents=True)
    (share / "dbt_project.yml").write_text("name: distiller_udf\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: distiller-udf\nVersion: 9\n")
    (info / "RECORD").write_text("../../../share/distiller_udf/dbt_project.yml,,\ndistiller_udf/project.py,,\n")
    installed = metadata.Distribution.at(info)
    monkeypatch.setattr(project_files, "__file__", str(site / "distiller_udf" / "project.py"))
    monkeypatch.setattr(metadata, "distribution", lambda name: installed)
    assert installed_package() == share.resolve()


def test_the_checkout_is_the_package() -> None:
    assert installed_package() == Path(__file__).parents[2]


def test_no_package_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(project_files, "__file__", str(tmp_path / "distiller_udf" / "project.py"))
    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(SettingsError, match="--package"):
        installed_package()


def test_variables_as_dbt_sees_them(folder: Path) -> None:
    """The package's section is before the project's own variables, and these are before the defaults."""
    (folder / "dbt_project.yml").write_text(
        "name: mine\nvars:\n  er_teacher: openai\n  er_seed: 1\n  mine: 2\n"
        "  other: {er_seed: 3, er_unknown: 4}\n  distiller_udf: {er_seed: 5}\n"
    )
    settings = Project.of(folder).settings
    assert (settings.teacher, settings.seed) == ("openai", 5)
    assert settings.label_store == str(folder / "distiller/labels.sqlite")
    given = Project.of(folder, variables={"er_seed": 6, "er_vote": "unanimous"}, instead={"seed": 7}).settings
    assert (given.seed, given.vote, given.teacher) == (7, "unanimous", "openai")


def test_who_is_named_in_an_option_is_asked_alone(folder: Path) -> None:
    (folder / "dbt_project.yml").write_text("name: mine\nvars: {er_teachers: [{model: a}, {model: b}]}\n")
    settings = Project.of(folder, instead={"teacher_model": "c"}).settings
    assert (settings.teachers, settings.teacher, settings.teacher_model) == (None, "openai", "c")


def test_a_project_is_found_above(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = folder / "models" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Project.of().folder == folder
    monkeypatch.chdir("/")
    assert Project.of(near=below / "x.duckdb").folder == folder
    assert not Project.of().exists


def test_values_are_read_as_dbt_reads_them() -> None:
    values = "on, N, y, No, 0x1f, 1.0e-3, 1e3, 010, 0o17, 1_0, '1', 12:30, ~, .inf, 2024-01-31, [a, {b: off}]"
    assert read_variables(f"er_a: [{values}]") == load_yaml_text(f"er_a: [{values}]")
    assert read_variables("er_a: [N]") == {"er_a": ["N"]}
    assert read_variables("") == {}


@pytest.mark.parametrize("place", ["", "  distiller_udf:\n  "])
def test_a_variable_that_does_not_exist_is_named(folder: Path, place: str) -> None:
    (folder / "dbt_project.yml").write_text(f"name: mine\nvars:\n{place}  er_teecher: openai\n")
    with pytest.raises(SettingsError, match="there is no variable er_teecher; did you mean er_teacher"):
        Project.of(folder)


@pytest.fixture
def templated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose profile, type, target, path and settings are in the environment."""
    monkeypatch.setenv("SHOP", "mine")
    (folder / "dbt_project.yml").write_text(
        "name: mine\nversion: '1.0'\nprofile: \"{{ env_var('SHOP') }}\"\n"
        "vars:\n  who: me\n  er_student_name: \"{{ env_var('SHOP') }}-{{ target.name }}-{{ var('who') }}\"\n"
        "  er_sources: [{name: a, model: stg_a, id: key}]\n"
    )
    (folder / "profiles.yml").write_text(
        "mine:\n  target: \"{{ env_var('SHOP_TARGET', 'prod') }}\"\n  outputs:\n"
        "    dev: {type: \"{{ 'duckdb' }}\", path: a.duckdb}\n"
        "    prod: {type: duckdb, path: \"{{ env_var('SHOP') }}.duckdb\"}\n"
        "    pg: {type: postgres}\nother:\n  outputs: {dev: {type: duckdb, path: b.duckdb}}\n"
    )
    return folder


def test_a_profile_is_rendered_as_dbt_does(templated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = run_json("init", "--project-dir", templated)
    assert any(line.endswith("profiles.yml: dev, prod") for line in report["added"])
    text = (templated / "profiles.yml").read_text()
    assert text.count("distiller_udf.plugin") == 2
    assert "{{ env_var('SHOP') }}.duckdb" in text
    checks = {check["name"]: check for check in run_json("doctor", "--project-dir", templated)["checks"]}
    assert (checks["dbt plug-in"]["ok"], checks["dbt plug-in"]["found"]) == (True, "dev, prod")
    assert Project.of(templated).settings.student_name == "mine-prod-me"
    assert Project.of(templated, target="dev").settings.student_name == "mine-dev-me"
    monkeypatch.setenv("SHOP_TARGET", "dev")
    assert Project.of(templated).settings.student_name == "mine-dev-me"
    assert Project.of(templated, variables={"who": "you"}).settings.student_name == "mine-dev-you"
    assert Project.of(templated, variables={"er_student_name": "{{ var('who') }}"}).settings.student_name == "me"


def test_a_missing_variable_is_told_in_dbt_s_words(templated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP")
    assert "Env var required but not provided: 'SHOP'" in " ".join(run_json("init", "--project-dir", templated)["next"])
    assert "Env var required but not provided: 'SHOP'" in run("doctor", "--project-dir", templated, code=1).stderr
    text = (templated / "dbt_project.yml").read_text()
    (templated / "dbt_project.yml").write_text(text.replace("  er_student_name", "  other"))
    checks = {check["name"]: check for check in run_json("doctor", "--project-dir", templated, code=1)["checks"]}
    assert "Env var required but not provided: 'SHOP'" in checks["dbt plug-in"]["found"]
    assert checks["dbt plug-in"]["fix"].startswith("correct it in dbt_project.yml or ")


def test_profiles_are_where_dbt_looks(templated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option, DBT_PROFILES_DIR, beside the project; a relative folder starts where the command does."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (templated / "profiles.yml").rename(elsewhere / "profiles.yml")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert any("was not found" in line for line in run_json("init", "--project-dir", templated)["next"])
    named = run_json("init", "--project-dir", templated, "--profiles-dir", "elsewhere")
    assert any("elsewhere" in line for line in named["added"])
    assert Project.of(templated, profiles_dir=Path("elsewhere")).settings.student_name == "mine-prod-me"
    monkeypatch.setenv("DBT_PROFILES_DIR", "elsewhere")
    monkeypatch.setenv("DBT_PROJECT_DIR", str(templated))
    assert any("elsewhere" in line for line in run_json("init")["kept"])
    assert Project.of(templated).profiles_dir == elsewhere
    monkeypatch.delenv("DBT_PROFILES_DIR")
    monkeypatch.chdir(elsewhere)
    assert any("elsewhere" in line for line in run_json("init")["kept"])


def results(folder: Path, *rows: tuple[str, str, str]) -> None:
    (folder / "target").mkdir(exist_ok=True)
    content = {
        "args": {"which": "build"},
        "results": [{"unique_id": node, "status": status, "message": message} for node, status, message in rows],
    }
    (folder / "target" / "run_results.json").write_text(json.dumps(content))


def test_the_last_run_says_what_failed(folder: Path) -> None:
    files = ProjectFiles(folder)
    assert last_run(files) is None
    python = "Runtime Error in model er_labels (m.py)\n  Traceback (most recent call last):\n  X\n  Y: no key\n"
    results(
        folder,
        ("model.mine.stg", "success", "OK"),
        ("model.distiller_udf.er_labels", "error", python),
        ("test.mine.not_null_a.1f", "fail", "Got 2 results"),
        ("model.mine.sql", "error", "Database Error in model sql (m.sql)\n  Parser Error: at x\n  compiled code at t"),
        ("model.mine.after", "skipped", ""),
    )
    assert last_run(files) == LastRun(
        "dbt build",
        (("er_labels", "Y: no key"), ("the test not_null_a", "Got 2 results"), ("sql", "Parser Error: at x")),
        1,
    )
    (check,) = [
        one for one in run_json("doctor", "--project-dir", folder, code=1)["checks"] if one["name"] == "last build"
    ]
    assert check["found"] == "er_labels: Y: no key, and 2 more failed; 1 were skipped"
    assert (check["ok"], check["needed"], check["fix"]) == (False, True, "correct it, then dbt build")
    results(folder, ("model.mine.stg", "success", "OK"))
    assert "last build" not in run("doctor", "--project-dir", folder, code=1).stdout
    for broken in ("", "{}", '{"results": [{}], "args": {}}', "[]"):
        (folder / "target" / "run_results.json").write_text(broken)
        assert last_run(files) is None


def test_before_dbt_deps_that_is_what_is_missing(folder: Path) -> None:
    run("init", "--project-dir", folder, "--source", "a=stg_a")
    (check,) = [one for one in run_json("doctor", "--project-dir", folder)["checks"] if one["name"] == "warehouse"]
    assert (check["found"], check["fix"]) == ("dbt has not installed the package yet", "dbt deps && dbt build")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ("er_teacher: embedded", None),
        ("{er_teacher: openai, er_teacher_model: m}", "OPENAI_API_KEY"),
        ("{er_teacher: openai, er_teacher_model: m, er_teacher_base_url: 'http://localhost:1/v1'}", None),
        ("{er_teacher: vllm, er_teacher_model: m}", None),
        ("{er_teacher: encoder, er_teacher_encoder: e, er_teacher_model: m}", "OPENAI_API_KEY"),
        ("er_teachers: [{teacher: embedded}, {model: m, api_key_env: MY_KEY}]", "MY_KEY"),
    ],
)
def test_a_key_is_missed_where_a_teacher_needs_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variables: str, named: str | None
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    checks = run_json("doctor", "--project-dir", folder, "--vars", variables, code=1)["checks"]
    found = [check["found"] for check in checks if check["name"] == "LLM key"]
    assert found == ([f"{named} is not set"] if named else [])


@pytest.mark.parametrize("text", ["[1]", "er_teacher", "{a: "])
def test_variables_that_are_no_mapping_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--vars"):
        read_variables(text)


def test_a_project_without_variables_has_the_defaults(folder: Path) -> None:
    (folder / "dbt_project.yml").write_text("name: mine\nvars:\n  distiller_udf:\n")
    assert Project.of(folder).settings == Settings().placed(folder)
