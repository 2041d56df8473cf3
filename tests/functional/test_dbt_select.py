"""`dbt build --select +MODEL` on a project that was never built, whose sources are seeds: nothing else is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import make_people
from dbt_harness import Project


@pytest.fixture(scope="module")
def people() -> dict[str, str]:
    made = make_people(80)
    rows = {"l": made.left, "r": made.right}
    return {
        name: "\n".join(["key,name,born", *(f"{i},{row['name']},{row['born']}" for i, row in enumerate(some))]) + "\n"
        for name, some in rows.items()
    }


@pytest.fixture
def shop(tmp_path: Path, people: dict[str, str]) -> Project:
    return Project(
        tmp_path,
        seeds={**people, "apart": "left_id,right_id\n1,1\n"},
        variables={
            "er_sources": [{"name": name, "model": name, "id": "key"} for name in "lr"],
            "er_cannot_links": "apart",
            "er_selection_minimum": 60,
        },
    )


def test_no_test_is_selected_whose_models_are_not(shop: Project) -> None:
    """dbt selects a test with any model that it refers to; then the others must have been selected too."""
    nodes = shop.run("parse").nodes
    ours = [
        key for key, node in nodes.items() if node.resource_type == "model" and node.package_name == "distiller_udf"
    ]
    assert len(ours) > 25
    for model in ours:
        selected, above = set(), [model]
        while above:
            key = above.pop()
            if key in nodes and key not in selected:
                selected.add(key)
                above += getattr(nodes[key].depends_on, "nodes", [])  # a seed has none
        for test in (node for node in nodes.values() if node.resource_type == "test"):
            if selected & set(test.depends_on.nodes):
                assert selected >= set(test.depends_on.nodes), f"+{model} selects {test.name}"


@pytest.mark.parametrize("model", ["er_records", "er_candidates", "er_tuples", "er_labels", "er_entities", "apart"])
def test_a_model_is_built_by_its_name_on_a_fresh_project(shop: Project, model: str) -> None:
    shop.run("compile")
    shop.run("build", "--select", f"+{model}")
    assert shop.query(f"select count(*) > 0 from {model}") == [(True,)]


def test_the_tests_of_pairs_and_entities_still_find_what_is_wrong(shop: Project) -> None:
    shop.run("build")
    shop.run("test")
    for change, test in {
        "update er_matches set right_id = 999 where left_id = 7": "er_pairs_have_records_er_matches",
        "delete from er_entities where source = 'l' and id = 7": "er_same_records_er_entities",
        "update er_entities set entity_id = 'x' where id = 1": "er_keeps_cannot_links_er_entities",
    }.items():
        shop.query(change)
        assert test in shop.error("test")
    shop.query("drop table er_records")
    assert "Table with name er_records does not exist" in shop.error("test")
