"""`distiller retrain` killed at 30 random moments: a reader always finds a whole student that was promoted."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import label_table, make_people

from distiller_udf.cli import main
from distiller_udf.registry import Registry
from distiller_udf.students import load_student
from distiller_udf.training.schedule.comparison import Archive

KILLS = 30
LATEST = 1.6
"""The last kill comes after so many times what a retraining took: the last ones come too late, and it ends."""


def pairs_of(labels: pa.Table) -> pa.Table:
    """The labels' own tuples as rows of er_pairs."""
    keys = {"left_source": "l", "right_source": "r"}
    return pa.Table.from_pylist(
        [
            {
                **keys,
                "left_id": row["left_id"],
                "right_id": o["id"],
                "left_record": row["query"],
                "right_record": o["record"],
            }
            for row in labels.to_pylist()
            for o in row["options"]
        ]
    )


def retrain(folder: Path, options: list[str]) -> None:
    """The command, in a process that ends with its exit code."""
    os.chdir(folder)
    main(["retrain", *options])


def test_a_killed_retraining_never_leaves_a_broken_or_missing_student(tmp_path: Path) -> None:
    labels = label_table(make_people(60 + KILLS))
    registry = Registry(tmp_path / "students")
    pq.write_table(pairs_of(labels), tmp_path / "pairs.parquet")

    # Processes of their own that have imported everything: a kill hits the retraining, not Python on its way there.
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(
        ["distiller_udf.cli.retrain", "distiller_udf.training.schedule", "lightgbm", "sklearn"]
    )

    def start(rows: int) -> BaseProcess:
        """A retraining with so many labels: more than the last time, so that there is always something to do."""
        file = tmp_path / f"labels-{rows}.parquet"
        pq.write_table(labels.slice(0, rows), file)
        where = ["--pairs", str(tmp_path / "pairs.parquet"), "--students", str(registry.root)]
        # The smallest difference counts as none: every challenger takes the place that it fights for.
        easy = ["--margin", "1", "--risk", "1", "--vars", "{er_calibration_margin: 1}"]
        process = fresh.Process(target=retrain, args=(tmp_path, ["--labels", str(file), *where, *easy]))
        process.start()
        return process

    def code(process: BaseProcess) -> int | None:
        process.join()
        return process.exitcode

    began = time.monotonic()
    assert code(start(58)) == 0
    seconds = time.monotonic() - began
    draw, killed = random.Random(5), 0
    for i in range(KILLS):
        process, began = start(60 + i), time.monotonic()
        process.join(seconds * LATEST * (i + draw.random()) / KILLS)
        if process.is_alive():
            process.kill()
            killed += code(process) == -signal.SIGKILL
        else:
            seconds = time.monotonic() - began  # the machine may have more or less to do than before
        current = load_student(registry.current()).info.version
        assert current in {c.challenger for c in Archive(registry.folder).all() if c.promoted}
    assert killed >= KILLS / 2, "the kills were meant to come in time"
    assert len(registry.names()) > 1, "some were meant to come after a training"
    assert code(start(60 + KILLS)) in (0, 10)
    assert code(start(60 + KILLS)) == 10
    assert [info.version for info in registry.versions()] == registry.names()
    assert registry.current_version() in {c.challenger for c in Archive(registry.folder).all() if c.promoted}
