"""A dbt project's files: changed in place, as private as they were, and the dbt package found wherever pip put it."""

from __future__ import annotations

import stat
from importlib import metadata
from pathlib import Path

import pytest
from dbt.clients.yaml_helper import load_yaml_text

from distiller_udf.errors import SettingsError
from distiller_udf.project import Project
from distiller_udf.project import files as project_files
from distiller_udf.project.files import ProjectFiles, installed_package, read_variables
from distiller_udf.settings import Settings

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
    assert ProjectFiles(folder).add_plugin() == ["dev"]
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
    ProjectFiles(folder).add_plugin()
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


@pytest.mark.parametrize("text", ["[1]", "er_teacher", "{a: "])
def test_variables_that_are_no_mapping_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--vars"):
        read_variables(text)


def test_a_project_without_variables_has_the_defaults(folder: Path) -> None:
    (folder / "dbt_project.yml").write_text("name: mine\nvars:\n  distiller_udf:\n")
    assert Project.of(folder).settings == Settings().placed(folder)
