"""Which side may repeat is a property of the task: the order of sources changes nothing, and the wrong word is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from dbt_harness import Project

FIRST = "Anna Bert Carla Dirk Elsa Franz Gerda Hugo Ines Jan Karin Lars Mona Nils Olga Paul".split()
LAST = [
    start + end for start in "Hoff Lang Stein Berg Wald Kirch".split() for end in "mann er berg hofer ner bach".split()
]
TOWNS = "Ulm Bonn Kiel Jena Trier Halle Mainz Essen".split()


def _typo(rng: random.Random, text: str) -> str:
    if rng.random() < 0.7:
        return text
    at = rng.randrange(len(text) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _tables(copies: tuple[int, ...]) -> dict[str, str]:
    """Customers, each with one of so many messy invoices, some without a customer; and which belong together."""
    rng = random.Random(7)
    customers = [
        (f"M{i}", f"{rng.choice(FIRST)} {rng.choice(LAST)}", rng.choice(TOWNS), str(rng.randrange(10**8)))
        for i in range(90)
    ]
    invoices, gold = [], []
    for key, name, town, number in customers:
        for _ in range(rng.choice(copies)):
            gold.append((f"X{len(invoices)}", key))
            invoices.append((gold[-1][0], _typo(rng, name), _typo(rng, town), number if rng.random() < 0.7 else ""))
    rng.shuffle(invoices)

    def csv(header: str, rows: list[tuple[str, ...]]) -> str:
        return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"

    return {
        "customers": csv("id,name,town,number", customers),
        "invoices": csv("id,name,town,number", invoices),
        "gold": csv("left_source,left_id,right_source,right_id", [("invoices", i, "customers", c) for i, c in gold]),
    }


def _project(folder: Path, order: str, constraint: str, copies: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Project:
    sources = [{"name": name, "model": name, "id": "id"} for name in order.split()]
    variables = {"er_sources": sources, "er_constraint": constraint, "er_gold": "gold"}
    return Project(folder, seeds=_tables(copies), variables=variables)


def _found(project: Project) -> tuple[set[tuple[str, str]], dict[str, float]]:
    """The matches as invoice and customer, and what they are worth."""
    matches = project.query("""
        select case when left_source = 'invoices' then left_id else right_id end,
            case when left_source = 'invoices' then right_id else left_id end
        from er_matches
    """)
    return set(matches), dict(project.query("select metric, value from er_metrics"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def many_first(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = _project(tmp_path_factory.mktemp("many_first"), "invoices customers", "many_to_one")
    project.run("build")
    return project


@pytest.fixture(scope="module")
def many_last(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = _project(tmp_path_factory.mktemp("many_last"), "customers invoices", "one_to_many")
    project.run("build")
    return project


def test_the_order_of_the_sources_changes_nothing(many_first: Project, many_last: Project) -> None:
    """`dbt build` runs er_respects_constraint and er_pairs_have_records as well."""
    matches, metrics = _found(many_first)
    turned, others = _found(many_last)
    assert turned == matches
    assert others == metrics
    assert metrics["recall"] > 0.7
    assert metrics["precision"] > 0.9


def test_the_record_that_is_one_of_many_is_left_in_every_table(many_last: Project) -> None:
    for table in (
        "er_candidates",
        "er_selection",
        "er_labels",
        "er_scores",
        "er_choices",
        "er_matches",
        "er_decisions",
    ):
        assert many_last.query(f"select distinct left_source from {table}") == [("invoices",)], table
    assert many_last.query('select "constraint" from er_student where is_current') == [("one_to_many",)]
    assert many_last.query("select count(*) from er_matches group by right_id having count(*) > 1")


def test_a_student_of_the_one_direction_does_not_decide_in_the_other(many_last: Project, tmp_path: Path) -> None:
    other = many_last.copied(tmp_path / "other")
    ((path,),) = many_last.query("select path from er_student where is_current")
    message = other.error("build", variables={"er_constraint": "many_to_one", "er_student_path": path})
    assert "was made for the constraint one_to_many, and many_to_one is wanted" in message


def test_links_and_gold_mean_the_sources_as_they_are_declared(many_last: Project, tmp_path: Path) -> None:
    """Ids without a source: the left one is of the source declared first, whichever comes first in a pair."""
    other = many_last.copied(tmp_path / "other")
    other._write("models/forced.sql", "select 'M3' as left_id, 'X1' as right_id")
    other.run("run", "--select", "forced", "er_matches", variables={"er_must_links": "forced"})
    forced = "select left_source, left_id, right_id from er_matches where decided_by = 'must_link'"
    assert other.query(forced) == [("invoices", "X1", "M3")]


@pytest.mark.parametrize(
    ("order", "fitting"), [("customers invoices", "one_to_many"), ("invoices customers", "many_to_one")]
)
def test_one_to_one_on_data_of_many_to_one_is_told(tmp_path: Path, order: str, fitting: str) -> None:
    message = _project(tmp_path, order, "one_to_one").error("build")
    assert f"the data look {fitting}" in message
    assert "records of invoices have a likely match in customers that went to another record" in message
    assert f"set er_constraint: {fitting}." in message


def test_one_to_one_on_data_of_one_to_one_says_nothing(tmp_path: Path) -> None:
    """A warning would be an error."""
    _project(tmp_path, "customers invoices", "auto", copies=(0, 1, 1, 1)).run("build")
