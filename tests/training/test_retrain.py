"""Retraining: what is promoted, what is rejected and why, and that a run which was killed is completed."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import label_table, make_people

from distiller_udf.constraint import Constraint
from distiller_udf.errors import StudentDamaged, StudentError, TrainingError
from distiller_udf.registry import Registry
from distiller_udf.students import load_student
from distiller_udf.training import versions
from distiller_udf.training.learned import Learned
from distiller_udf.training.schedule import retrain, weigh
from distiller_udf.training.schedule.comparison import Archive, Comparison
from distiller_udf.training.schedule.evaluation_set import judge, split
from distiller_udf.training.schedule.retrain import NOTHING_NEW, PROMOTED, REJECTED, Retrained
from distiller_udf.training.schedule.rule import Margins
from distiller_udf.training.schedule.weigh import Scales
from distiller_udf.training.versions import Recipe, ensure_student, publish_student

RECIPE = Recipe(settings={"seed": 1, "self_training": 0, "rounds": 10})


@pytest.fixture(scope="module")
def many() -> pa.Table:
    return label_table(make_people(200))


def scales(held_out: pa.Table, **margins: Any) -> Scales:
    return Scales(held_out, None, Margins(**margins), Constraint.ONE_TO_ONE)


def run(labels: pa.Table, registry: Registry, recipe: Recipe = RECIPE, **margins: Any) -> Retrained:
    training, held_out = split(labels, 0.3)
    return retrain.retrain(training, registry, recipe, scales(held_out, **margins))


def spoilt(labels: pa.Table) -> pa.Table:
    """The same records, but the teacher says what is not true: a wrong candidate for most that have a match."""
    rows = labels.to_pylist()
    for row in rows:
        if row["choice"] and row["left_id"] % 8:
            row["choice"] = row["choice"] % len(row["options"]) + 1
    return pa.Table.from_pylist(rows, schema=labels.schema)


def mixed(labels: pa.Table) -> pa.Table:
    """Labels of which those to learn from are spoilt, and those held out are right."""
    training, held_out = split(labels, 0.3)
    return pa.concat_tables([spoilt(training), held_out])


def test_the_first_student_is_promoted(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    done = run(many, registry)
    assert (done.outcome, done.trained, done.current) == (PROMOTED, True, registry.current_version())
    assert done.why.endswith("is the first student")
    assert done.comparison is not None
    assert done.comparison.current is None
    assert done.comparison.judged is not None
    assert done.comparison.judged.f1.value > 0.9
    assert done.labels_new == split(many, 0.3)[0].num_rows


def test_without_new_labels_there_is_nothing_to_do(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = run(many, registry).current
    again = run(many, registry)
    assert (again.outcome, again.labels_new, again.trained) == (NOTHING_NEW, 0, False)
    assert registry.current_version() == first


def test_new_labels_make_a_challenger_that_takes_the_place(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = run(many.slice(0, 120), registry).current
    done = run(many, registry)
    assert done.outcome == PROMOTED, done.comparison
    assert done.comparison is not None
    assert (done.comparison.current, done.comparison.challenger) == (first, registry.current_version())
    assert done.labels_new == split(many.slice(120), 0.3)[0].num_rows
    assert run(many, registry).outcome == NOTHING_NEW


def test_other_settings_make_a_challenger_without_new_labels(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    run(many, registry)
    careful = Recipe(settings={**dict(RECIPE.settings or {}), "target_precision": 0.9})
    done = run(many, registry, careful)
    assert (done.labels_new, done.trained) == (0, True)
    assert run(many, registry, careful).outcome == NOTHING_NEW


def test_a_worse_challenger_is_rejected_with_its_reasons(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    good = run(many, registry).current
    done = run(mixed(many), registry)
    assert done.outcome == REJECTED
    assert registry.current_version() == good
    assert done.comparison is not None
    assert not done.comparison.promoted
    assert "worse by more than 0.01 with probability 1.00" in done.why
    again = run(mixed(many), registry)
    assert (again.outcome, again.trained) == (NOTHING_NEW, False)
    assert "was rejected on" in again.why


def test_wider_margins_weigh_again_without_training(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    run(many, registry)
    run(mixed(many), registry)
    done = run(mixed(many), registry, f1=1.0, calibration=1.0)
    assert (done.outcome, done.trained) == (PROMOTED, False)


def test_a_pinned_student_keeps_its_place_until_it_is_released(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = str(run(many.slice(0, 120), registry).current)
    registry.promote(first, pin=True)
    done = run(many, registry)
    assert (done.outcome, registry.current_version()) == (REJECTED, first)
    assert f"{first} is pinned" in done.why
    assert run(many, registry).outcome == NOTHING_NEW
    registry.promote(first)
    released = run(many, registry)
    assert (released.outcome, released.trained) == (PROMOTED, False)
    assert released.comparison is not None
    assert not any("pinned" in reason for reason in released.comparison.reasons)


def test_what_someone_turned_back_is_not_promoted_again(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = run(many.slice(0, 120), registry).current
    run(many, registry)
    assert registry.rollback(pin=False) == first
    done = run(many, registry)
    assert (done.outcome, registry.current_version()) == (NOTHING_NEW, first)
    assert "someone has turned back" in done.why


def test_a_pin_of_the_last_moment_holds(many: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pins the current student when the challenger has just been found worthy."""
    registry = Registry(tmp_path)
    first = str(run(many.slice(0, 120), registry).current)
    write = Archive.write

    def pinning(archive: Archive, found: Comparison) -> None:
        write(archive, found)
        registry.promote(first, pin=True)

    monkeypatch.setattr(Archive, "write", pinning)
    done = run(many, registry, f1=1.0)
    assert (done.outcome, registry.current_version()) == (REJECTED, first)
    assert [found.promoted for found in Archive(registry.folder).all() if found.current == first] == [False]


def test_a_damaged_student_gives_way_to_a_sound_challenger(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = str(run(many.slice(0, 120), registry).current)
    registry.promote(first, pin=True)
    (registry.path(first) / "student.json").write_text("{}")
    done = run(many, registry)
    assert done.outcome == PROMOTED
    assert done.comparison is not None
    assert any("the current student cannot be judged" in reason for reason in done.comparison.reasons)


def test_a_current_student_that_cannot_be_asked_just_now_keeps_its_place(
    many: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer says nothing about the student behind it."""
    registry = Registry(tmp_path)
    first = str(run(many.slice(0, 120), registry).current)

    def asked(student: Any, *arguments: Any, **settings: Any) -> Any:
        if student.info.version == first:
            raise StudentError("the server does not answer")
        return judge(student, *arguments, **settings)

    monkeypatch.setattr(weigh, "judge", asked)
    with pytest.raises(StudentError, match="does not answer"):
        run(many, registry)
    assert registry.current_version() == first
    monkeypatch.undo()
    assert run(many, registry).outcome == PROMOTED


@pytest.mark.slow
def test_one_student_is_gone_before_the_other_is_asked(many: pa.Table, tmp_path: Path) -> None:
    """Two language models may not fit beside each other."""
    registry = Registry(tmp_path)
    first = registry.path(str(run(many.slice(0, 120), registry).current))
    training, held_out = split(many, 0.3)
    second = publish_student(training, registry, RECIPE).path
    alive: list[weakref.ref[Any]] = []

    def load(folder: Path) -> Any:
        gc.collect()
        assert not [known for known in alive if known() is not None]
        student = load_student(folder)
        alive.append(weakref.ref(student))
        return student

    assert weigh.weigh(second, first, replace(scales(held_out), load=load)).judged_current is not None
    assert len(alive) == 3


def test_a_challenger_does_not_replace_whom_it_was_not_weighed_against(
    many: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody promotes another student while the challenger is weighed against the one before."""
    registry = Registry(tmp_path)
    run(many.slice(0, 120), registry)
    other = publish_student(many, registry, Recipe(settings={"seed": 5, "rounds": 10})).info.version
    judged = weigh.weigh

    def meanwhile(*arguments: Any, **settings: Any) -> Comparison:
        registry.promote(other)
        return judged(*arguments, **settings)

    monkeypatch.setattr(retrain, "weigh", meanwhile)
    done = run(many, registry, f1=1.0)
    assert (done.outcome, registry.current_version()) == (REJECTED, other)
    assert "has become the current student meanwhile" in done.why


def test_a_setting_that_is_taken_away_makes_another_student(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = run(many, registry).current
    named = Recipe(settings={**dict(RECIPE.settings or {}), "constraint": "one_to_one", "folds": 5})
    assert run(many, registry, named).outcome == NOTHING_NEW, "a default that is named changes nothing"
    done = run(many, registry, Recipe(settings={"seed": 1, "self_training": 0}), f1=1.0)
    assert done.trained
    assert done.current != first


def test_a_student_of_other_columns_gives_way(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    rows = many.slice(0, 120).to_pylist()
    for row in rows:
        row["query"] = row["query"].replace('"name"', '"called"')
        row["options"] = [{**o, "record": o["record"].replace('"name"', '"called"')} for o in row["options"]]
        row["left_id"] += 1_000
    run(pa.Table.from_pylist(rows, schema=many.schema), registry)
    # Records that are known only by other columns are taken as empty, which is judged, and badly.
    assert run(many, registry).outcome == PROMOTED


def test_held_out_labels_are_never_trained_on(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    run(many, registry)
    _, held_out = split(many, 0.3)
    known = Learned.read(registry.current())
    assert len(known.pairs) == many.num_rows - held_out.num_rows
    assert known.of_others(held_out).num_rows == held_out.num_rows


def test_a_student_that_knew_the_held_out_labels_has_the_advantage_and_it_is_said(
    many: pa.Table, tmp_path: Path
) -> None:
    registry = Registry(tmp_path)
    ensure_student(many.slice(0, 150), registry, Recipe(settings=dict(RECIPE.settings or {})))
    done = run(many, registry)
    assert done.comparison is not None
    assert done.comparison.held_out.seen_by_current == split(many.slice(0, 150), 0.3)[1].num_rows
    assert "trained on" in done.comparison.notes[0]


def test_a_run_that_was_killed_before_the_promotion_is_completed(
    many: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path)
    first = run(many.slice(0, 120), registry).current

    def killed(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Registry, "succeed", killed)
        run(many, registry)
    assert registry.current_version() == first
    with monkeypatch.context() as patch:
        patch.setattr(versions, "train", killed)
        patch.setattr(retrain, "weigh", killed)
        done = run(many, registry)
    assert (done.outcome, done.trained) == (PROMOTED, False)
    assert registry.current_version() == done.current != first


def test_a_run_that_was_killed_while_it_compared_compares_again(
    many: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path)
    run(many.slice(0, 120), registry)

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(weigh, "figures", killed)
        run(many, registry)
    assert len(Archive(registry.folder).all()) == 1
    done = run(many, registry)
    assert (done.outcome, done.trained) == (PROMOTED, False)


def test_labels_that_cannot_teach_leave_the_current_student(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = run(many, registry).current
    rows = [{**row, "choice": 0} for row in label_table(make_people(60, seed=11)).to_pylist()]
    with pytest.raises(TrainingError, match="the teacher found no match"):
        run(pa.Table.from_pylist(rows, schema=many.schema), registry)
    assert registry.current_version() == first


def test_comparisons_read_back_and_are_rows_of_a_table(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    done = [run(many.slice(0, 120), registry), run(many, registry), run(mixed(many), registry)]
    archive = Archive(registry.folder)
    found, expected = archive.all(), [r.comparison for r in done if r.comparison]
    assert {(c.key, c.challenger): c for c in found} == {(c.key, c.challenger): c for c in expected}
    rows = archive.table().to_pylist()
    assert [row["current"] for row in rows].count(None) == 1
    assert sorted(row["promoted"] for row in rows) == [False, True, True]
    (against,) = [row for row in rows if not row["promoted"]]
    assert against["difference_f1"] == pytest.approx(against["f1"] - against["current_f1"])
    assert against["f1_low"] <= against["f1"] <= against["f1_high"]
    assert against["pairs_gained"] is None
    assert [info.version for info in registry.versions()] == registry.names()


def test_a_file_that_is_no_comparison_is_passed_over(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    run(many, registry)
    folder = registry.folder / ".comparisons"
    (path,) = folder.iterdir()
    (folder / "half.json").write_text(path.read_text()[:100])
    (folder / "later.json").write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    assert len(Archive(registry.folder).all()) == 1


def test_a_challenger_that_cannot_be_read_is_an_error(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    training, held_out = split(many, 0.3)
    path = publish_student(training, registry, Recipe(settings=dict(RECIPE.settings or {}))).path
    shutil.rmtree(path / "similarity")
    with pytest.raises(StudentDamaged):
        weigh.weigh(path, None, scales(held_out))


def test_a_version_that_was_trained_before_is_weighed(many: pa.Table, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    run(many, registry)
    training, held_out = split(many, 0.3)
    other = publish_student(
        training, registry, Recipe(settings={"seed": 9, "self_training": 0, "rounds": 10})
    ).info.version
    knowing = publish_student(
        many, registry, Recipe(settings={"seed": 9, "self_training": 0, "rounds": 10})
    ).info.version
    weighed = retrain.retrain(training, registry, RECIPE, scales(held_out), challenger=other)
    assert (weighed.outcome, weighed.trained, registry.current_version()) == (PROMOTED, False, other)
    again = retrain.retrain(training, registry, RECIPE, scales(held_out), challenger=other)
    assert again.outcome == NOTHING_NEW
    judged = retrain.retrain(training, registry, RECIPE, scales(held_out), challenger=knowing)
    assert judged.outcome == REJECTED, "it was trained on all that it could be judged by"
    assert "0 held-out tuples" in judged.why
