"""Data that many tests share: generated people, labels about them, and a student trained from these labels."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Threads of OpenMP that wait sleep, here and in child processes: where several tests run at once, those that turn in a
# loop meanwhile make a training cost ten times the CPU. It counts only before the first library with OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import hypothesis
import pyarrow as pa
import pytest

from distiller_udf.records import record_text
from distiller_udf.registry import Registry
from tests.tiny_encoder import save_tiny_encoder

# How long an example takes depends on what else the machine has to do.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

FIRST = "anna bruno clara david elena felix greta hugo irene jonas katja lukas maria nils olga paul rosa simon".split()
LAST = (
    "adler becker conrad dietrich ebert fischer gruber hofmann jansen keller lorenz maier neumann otto peters".split()
)
TOWNS = "aachen bonn celle dresden erfurt fulda gera halle ilmenau jena kassel leipzig mainz neuss".split()
COLUMNS = ("name", "town", "born")

Person = dict[str, str | None]


@dataclass(frozen=True)
class People:
    """Row i of `left` and of `right` are the same person; the right one is written with errors."""

    left: list[Person]
    right: list[Person]


@pytest.fixture(autouse=True)
def heard_by_caplog() -> None:
    """A dbt run in this process sends our log lines to dbt alone."""
    logging.getLogger("distiller_udf").propagate = True


def make_people(count: int, seed: int = 7) -> People:
    """Distinct people, and the same ones with typing errors and gaps."""
    rng = random.Random(seed)
    left: list[Person] = []
    seen: set[tuple[str, str]] = set()
    while len(left) < count:
        name = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
        born = f"{rng.randint(1940, 2005)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        if (name, born) not in seen:
            seen.add((name, born))
            left.append({"name": name, "town": rng.choice(TOWNS), "born": born})
    return People(left, [_misspelt(person, rng) for person in left])


def _misspelt(person: Person, rng: random.Random) -> Person:
    name = str(person["name"])
    at = rng.randrange(len(name) - 1)
    changed = name[:at] + name[at + 1] + name[at] + name[at + 2 :] if rng.random() < 0.6 else name
    return {**person, "name": changed, "town": None if rng.random() < 0.2 else person["town"]}


def label_table(people: People, seed: int = 3) -> pa.Table:
    """Labels in the shape of `er_labels`: every left record with five candidates; a quarter have no match."""
    rng = random.Random(seed)
    rows = []
    for i, person in enumerate(people.left):
        others = [j for j in rng.sample(range(len(people.right)), 6) if j != i][:5]
        options = others if i % 4 == 0 else sorted([*others[:4], i], key=lambda j: rng.random())
        choice = options.index(i) + 1 if i in options else 0
        records = [{"source": "r", "id": j, "record": record_text(people.right[j])} for j in options]
        rows.append(
            {
                "label_key": f"key-{i}",
                "left_source": "l",
                "left_id": i,
                "teacher": "test",
                "choice": choice,
                "right_source": "r" if choice else None,
                "right_id": i if choice else None,
                "probabilities": None,
                "query": record_text(person),
                "options": records,
            }
        )
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="session")
def people() -> People:
    return make_people(120)


@pytest.fixture(scope="session")
def labels(people: People) -> pa.Table:
    return label_table(people)


@pytest.fixture(scope="session")
def students(tmp_path_factory: pytest.TempPathFactory, labels: pa.Table) -> Registry:
    """A registry with one trained, current lexical student. Tests that change it take a copy."""
    from distiller_udf.training.versions import Recipe, ensure_student

    registry = Registry(tmp_path_factory.mktemp("students"))
    ensure_student(labels, registry, Recipe(settings={"seed": 1}))
    return registry


@pytest.fixture(scope="session")
def student_folder(students: Registry) -> Path:
    return students.current()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an encoder that knows nothing. Tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("encoder") / "bert"
    save_tiny_encoder(folder)
    return str(folder)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Several threads on models this small, in several test processes, only get in each other's way."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a language model that knows nothing."""
    from benchmarks.typo_task import save_small_llm

    folder = tmp_path_factory.mktemp("base") / "model"
    save_small_llm(folder, width=64, layers=2)
    return str(folder)


@pytest.fixture(scope="session")
def taught() -> pa.Table:
    """Two dozen labelled tuples that a language model could learn."""
    from benchmarks.typo_task import label_table as typos

    return typos(24, seed=1)
