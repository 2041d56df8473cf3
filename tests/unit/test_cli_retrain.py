"""`distiller retrain` and `distiller students compare` on Parquet files: outcomes, exit codes, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run, run_json
from conftest import label_table, make_people

from distiller_udf.registry import Registry
from distiller_udf.training.schedule.comparison import Archive
from distiller_udf.training.schedule.evaluation_set import split

PEOPLE = make_people(160)


def pairs_of(labels: pa.Table) -> pa.Table:
    """The labels' own tuples as rows of er_pairs."""
    rows = [
        {
            "left_source": "l",
            "left_id": row["left_id"],
            "right_source": "r",
            "right_id": option["id"],
            "left_record": row["query"],
            "right_record": option["record"],
        }
        for row in labels.to_pylist()
        for option in row["options"]
    ]
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    labels = label_table(PEOPLE)
    gold = pa.table({"left_id": list(range(160)), "right_id": list(range(160))})
    wrong = [{**row, "choice": row["choice"] and row["choice"] % 5 + 1} for row in labels.to_pylist()]
    tables = {
        "few": labels.slice(0, 100),
        "all": labels,
        # A teacher that has gone mad on all that there is to learn from.
        "wrong": pa.concat_tables(
            [split(pa.Table.from_pylist(wrong, schema=labels.schema), 0.3)[0], split(labels, 0.3)[1]]
        ),
        "pairs": pairs_of(labels),
        "gold": gold,
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return {name: folder / f"{name}.parquet" for name in tables}


@pytest.fixture
def options(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.chdir(tmp_path)
    share = ["--evaluation-share", 0.3]
    return ["--pairs", files["pairs"], "--gold", files["gold"], "--students", tmp_path / "students", *share]


@pytest.fixture(scope="module")
def nights(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Retraining night by night: from few labels, again, from a mad teacher's, again, and from all. What each said."""
    folder = tmp_path_factory.mktemp("nights")
    given = ["--pairs", files["pairs"], "--gold", files["gold"], "--students", folder / "students"]
    given += ["--evaluation-share", 0.3]
    mad = ["--labels", files["wrong"], *given, "--max-change", 0.1]
    registry = Registry(folder / "students")
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        first = run_json("retrain", "--labels", files["few"], *given)
        return {
            "registry": registry,
            "first": first,
            "again": run_json("retrain", "--labels", files["few"], *given, code=10),
            "refused": run_json("retrain", *mad, code=20),
            "kept": registry.current_version(),
            "refused again": run("retrain", *mad, code=10).stderr,
            "all": run("retrain", "--labels", files["all"], *given),
        }


@pytest.mark.slow
def test_the_outcome_is_the_exit_code(nights: dict[str, Any]) -> None:
    first, refused, done = nights["first"], nights["refused"], nights["all"]
    assert (first["outcome"], first["trained"]) == ("promoted", True)
    assert nights["again"]["outcome"] == "nothing new"

    assert "worse by more than 0.01 with probability 1.00" in refused["why"]
    assert any(
        reason.endswith("of the matched pairs change, where 10.0% may change")
        for reason in refused["comparison"]["reasons"]
    )
    assert nights["kept"] == first["current"]
    assert "was rejected on" in nights["refused again"]

    assert "takes the place of" in done.stderr
    assert "What changes downstream" in done.stdout
    assert "F1 against 160 known matches" in done.stdout
    gold = Archive(nights["registry"].folder).all()[-1].gold
    assert gold is not None
    # A quarter of the people have no candidate that is right.
    assert 0.7 < gold.challenger.value <= 120 * 2 / (120 + 160)


def test_a_dry_run_trains_nothing(files: dict[str, Path], options: list[object], tmp_path: Path) -> None:
    said = run("retrain", "--labels", files["few"], *options, "--dry-run").stderr
    assert "there is no student yet" in said
    assert Registry(tmp_path / "students").names() == []


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ([], 1, "there is no dbt project here; give --project-dir, or --database with the warehouse"),
        (["--database", "none.duckdb"], 1, "there is no database at none.duckdb; run `dbt build` first"),
        (["--margin", 2], 2, "--margin"),
        (["--vars", "{er_promotion_risk: often}"], 1, 'er_promotion_risk is "often". Allowed: a number from 0 to 1'),
        (["--vars", "{er_student_path: there}"], 1, "er_student_path names a given student"),
        (["--vars", "{er_promotion_riks: 1}"], 1, "did you mean er_promotion_risk?"),
    ],
    ids=str,
)
def test_wrong_options_say_what_to_do(
    given: list[object], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in run("retrain", *given, code=code).output


@pytest.mark.slow
def test_versions_are_compared_anew_or_as_they_were(
    files: dict[str, Path], nights: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry, first = nights["registry"], nights["first"]["current"]
    second = registry.current_version()
    where = ["--students", registry.root]
    remembered: dict[str, Any] = run_json("students", "compare", second, first, *where)
    assert remembered == json.loads(
        next((registry.folder / ".comparisons").glob(f"{second}-against-{first}-*")).read_text()
    )
    assert run_json("students", "compare", first, *where) == remembered, "whichever is named first"
    assert f"{second} is the current student itself" in run("students", "compare", second, *where, code=1).output
    known = ["--pairs", files["pairs"], "--gold", files["gold"], "--vars", "{er_evaluation_share: 0.3}"]
    turned = run_json("students", "compare", first, "--labels", files["all"], *known, *where)
    assert turned["changes"]["pairs_gained"] == remembered["changes"]["pairs_lost"]
    assert turned["changes"]["entities_split"] == remembered["changes"]["entities_merged"]
    assert turned["difference"]["f1"]["value"] == pytest.approx(-remembered["difference"]["f1"]["value"])
    assert registry.current_version() == second
