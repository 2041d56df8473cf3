"""Retraining: idempotent, whole or not at all, and clear about why it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distiller_udf.constraint import Constraint
from distiller_udf.errors import LabelError, SettingsError, TrainingError
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.students import load_student
from distiller_udf.training.er_student import student_table, training_settings
from distiller_udf.training.learned import label_fingerprint
from distiller_udf.training.versions import Recipe, ensure_student

SEED = {"seed": 1}


@pytest.fixture
def few(labels: pa.Table) -> pa.Table:
    return labels.slice(0, 40)


def replace(labels: pa.Table, name: str, values: list[object]) -> pa.Table:
    return labels.set_column(labels.column_names.index(name), name, pa.array(values, labels.schema.field(name).type))


def test_the_same_labels_in_any_order_train_the_same_student(labels: pa.Table, tmp_path: Path) -> None:
    turned = labels.take(pa.array(range(labels.num_rows - 1, -1, -1)))
    first, second = (
        ensure_student(table, Registry(tmp_path / name, "s")).path for name, table in (("a", labels), ("b", turned))
    )
    assert first.name == second.name
    for file in (file for file in first.rglob("*") if file.is_file()):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes(), file.name


def test_the_same_labels_in_another_order_are_the_same_student(few: pa.Table, tmp_path: Path) -> None:
    first = ensure_student(few, Registry(tmp_path), Recipe(settings=SEED))
    second = ensure_student(few.take(list(range(39, -1, -1))), Registry(tmp_path), Recipe(settings=SEED))
    assert (first.trained, second.trained) == (True, False)
    assert first.path == second.path


def test_training_is_deterministic_byte_for_byte(few: pa.Table, tmp_path: Path) -> None:
    one = ensure_student(few, Registry(tmp_path / "one"), Recipe(settings=SEED)).info
    two = ensure_student(few, Registry(tmp_path / "two"), Recipe(settings=SEED)).info
    assert one == two  # the manifest holds a digest of every file


def test_another_answer_is_another_student(few: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    ensure_student(few, registry, Recipe(settings=SEED))
    flipped = replace(few, "choice", [0, *few["choice"].to_pylist()[1:]])
    choices = few["choice"].to_pylist()
    changed = replace(few, "choice", [choices[0], 0 if choices[1] else 1, *choices[2:]])
    assert label_fingerprint(flipped) == label_fingerprint(few)  # the first person has no match anyway
    assert label_fingerprint(changed) != label_fingerprint(few)
    outcome = ensure_student(changed, registry, Recipe(settings=SEED))
    assert outcome.trained
    assert [row["is_current"] for row in student_table(registry).to_pylist()] == [False, True]


def test_a_pinned_student_stays_and_others_are_promoted(few: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    old = ensure_student(few, registry, Recipe(settings=SEED)).info.version
    new = ensure_student(few, registry, Recipe(settings={"seed": 2})).info.version
    assert ensure_student(few, registry, Recipe(settings=SEED)).info.version == registry.current_version() == old != new
    registry.promote(old, pin=True)
    again = ensure_student(few, registry, Recipe(settings={"seed": 2}))
    assert (again.trained, again.info.version, registry.current_version()) == (False, new, old)
    registry.promote(old)
    assert ensure_student(few, registry, Recipe(settings={"seed": 2})).info.version == new


def test_other_columns_are_another_student(few: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    one = ensure_student(few, registry, Recipe(settings=SEED, columns="STRUCT(name VARCHAR)"))
    two = ensure_student(few, registry, Recipe(settings=SEED, columns="STRUCT(name VARCHAR, town VARCHAR)"))
    assert two.trained
    assert two.info.version != one.info.version


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.slice(0, 0), "no usable labels"),
        (lambda t: replace(t, "choice", [None] * t.num_rows), "no usable labels"),
        (lambda t: replace(t, "choice", [0] * t.num_rows), "the teacher found no match"),
        (lambda t: t.slice(0, 2), "2 labelled tuples are too few to train on"),
        (lambda t: t.slice(0, 1), "1 labelled tuple is too few to train on"),
    ],
)
def test_labels_that_cannot_teach_say_why(few: pa.Table, tmp_path: Path, spoil, message: str) -> None:
    registry = Registry(tmp_path)
    with pytest.raises(TrainingError, match=message):
        ensure_student(spoil(few), registry, Recipe(settings=SEED))
    assert registry.current_version() is None
    assert list(registry.folder.iterdir()) == []


def test_labels_of_matches_only_cannot_teach(few: pa.Table, tmp_path: Path) -> None:
    matched = [row for row in few.to_pylist() if row["choice"]]
    for row in matched:
        row["options"], row["choice"] = [row["options"][row["choice"] - 1]], 1
    with pytest.raises(TrainingError, match="every labelled pair is a match"):
        ensure_student(pa.Table.from_pylist(matched, schema=few.schema), Registry(tmp_path), Recipe(settings=SEED))


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="the label table lacks choice"):
        ensure_student(pa.table({"query": ["x"]}), Registry(tmp_path))


def test_an_unknown_kind_lists_the_known_ones(few: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Allowed: lexical"):
        ensure_student(few, Registry(tmp_path), Recipe("oracle"))


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_current_student(few: pa.Table, tmp_path: Path) -> None:
    """A limit on the size of a file makes the real writes fail in the middle of a student."""
    registry = Registry(tmp_path / "students")
    current = ensure_student(few, registry, Recipe(settings=SEED)).path
    pq.write_table(few, tmp_path / "labels.parquet")
    script = f"""
import resource, signal, pyarrow.parquet as pq
from pathlib import Path
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.training.versions import ensure_student
from distiller_udf.training.versions import Recipe
labels = pq.read_table({str(tmp_path / "labels.parquet")!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
ensure_student(labels, Registry(Path({str(registry.root)!r})), Recipe(settings={{"seed": 2}}))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "could not be written" in result.stderr.splitlines()[-1]
    assert "The current student is unchanged" in result.stderr.splitlines()[-1]
    assert registry.current() == current
    assert sorted(p.name for p in registry.folder.iterdir()) == ["CURRENT", current.name]
    assert load_student(current).info.version == current.name


@pytest.mark.parametrize(
    ("constraint", "task", "sources", "expected"),
    [
        ("auto", "auto", 2, Constraint.ONE_TO_ONE),
        ("auto", "auto", 1, Constraint.NONE),
        ("auto", "link_and_dedupe", 2, Constraint.NONE),
        ("none", "link", 2, Constraint.NONE),
        ("many_to_one", "auto", 2, Constraint.MANY_TO_ONE),
    ],
)
def test_the_constraint_of_training_is_the_projects(
    constraint: str, task: str, sources: int, expected: Constraint
) -> None:
    named = [{"name": str(n), "model": "people", "id": "id"} for n in range(sources)]
    settings = Settings.of({"constraint": constraint, "task": task, "sources": named})
    assert training_settings(settings)["constraint"] is expected


@pytest.mark.slow
def test_two_processes_train_the_same_student_once(few: pa.Table, tmp_path: Path) -> None:
    pq.write_table(few, tmp_path / "labels.parquet")
    script = f"""
import pyarrow.parquet as pq
from pathlib import Path
from distiller_udf.registry import Registry
from distiller_udf.settings import Settings
from distiller_udf.training.versions import publish_student
from distiller_udf.training.versions import Recipe
labels = pq.read_table({str(tmp_path / "labels.parquet")!r})
print(publish_student(labels, Registry(Path({str(tmp_path / "students")!r})), Recipe(settings={{"seed": 1}})).trained)
"""
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["False", "True"]
    assert len(Registry(tmp_path / "students").names()) == 1
