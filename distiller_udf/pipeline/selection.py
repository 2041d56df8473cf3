"""What the Python model er_selection does: candidates as relations in, the selected left records as a relation out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from distiller_udf.pipeline.relations import ARROW_ROWS, PAIR_KEYS, staged
from distiller_udf.selection import select
from distiller_udf.settings import Settings

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

PROFILES, SELECTED = "er_profiles", "er_selected"
NEEDED = {
    "er_selection": ("left_source", "left_id", "round"),
    "er_labels": ("left_source", "left_id"),
    "er_scores": ("left_source", "left_id", "right_source", "right_id", "choice_probability"),
}
"""Tables of an earlier run that the strategy uncertain reads, and the columns it reads there."""


def select_tuples(
    session: duckdb.DuckDBPyConnection,
    candidates: duckdb.DuckDBPyRelation,
    settings: Settings,
    former: Mapping[str, str],
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_selection`, by the settings of the selection (see `selection.select`).

    The strategy `uncertain` reads what an earlier run left of er_selection, er_labels and er_scores: `former` says
    where they are, as far as they are there; dbt cannot be told of them, for they are made from this model. Every row
    of er_labels is an answer, an abstention too: only what failed or was not paid for yet has none. What is there and
    what is not is logged. Ids stay inside DuckDB and keep their type. Raises SettingsError for an unknown strategy.
    """
    strategy = settings.selection_strategy
    session.execute(
        f"create or replace temp table {PROFILES} as "  # noqa: S608
        "select row_number() over () as n, * from ("
        "select left_source, left_id, cast(left_id as varchar) as id_text, "
        "list(cast(similarity as double)) as similarities "
        f"from ({candidates.sql_query()}) group by left_source, left_id)"
    )
    columns = "left_source, n as left_id, id_text, similarities"
    query = f"select {columns} from {PROFILES}"  # noqa: S608
    if strategy == "uncertain":
        query = _with_earlier(query, candidates, _earlier(session, former))
    profiles = session.sql(query).to_arrow_table()
    chosen = select(
        profiles,
        strategy=strategy,
        share=settings.selection_share,
        minimum=settings.selection_minimum,
        positive_ratio=settings.selection_positive_ratio,
        bins=settings.selection_bins,
        rounds=settings.selection_rounds,
        seed=settings.seed,
        constraint=settings.resolved_constraint,
    )
    return _with_ids(session, chosen)


def _earlier(session: duckdb.DuckDBPyConnection, former: Mapping[str, str]) -> dict[str, str]:
    """The tables of an earlier run that have the columns that are needed, by name, as SQL names them."""
    found = {}
    for name, columns in NEEDED.items():
        if name in former and set(columns) <= {
            column.lower() for column in session.sql(f"from {former[name]}").columns
        }:
            found[name] = former[name]
    missing = [name for name in NEEDED if name not in found]
    # It is odd where there is a selection and not what follows it.
    level = logging.WARNING if missing and "er_selection" in found else logging.INFO
    logger.log(
        level, "uncertain reads %s; not there: %s", ", ".join(found.values()) or "nothing", ", ".join(missing) or "–"
    )
    if "er_selection" in found and "er_labels" in missing:
        logger.warning("without er_labels, all that was selected before counts as answered")
    return found


def _with_earlier(query: str, candidates: duckdb.DuckDBPyRelation, earlier: Mapping[str, str]) -> str:
    """The profiles with `selected`, `round`, `labelled` and `probabilities` of an earlier run, each where its table is
    there.

    Ids are compared as text: their type may have changed since.
    """
    same = "earlier.left_source = profiles.left_source and cast(earlier.left_id as varchar) = profiles.id_text"
    columns = {
        "selected": ("er_selection", "count(*) > 0"),
        "round": ("er_selection", "max(earlier.round)"),
        "labelled": ("er_labels", "count(*) > 0"),
    }
    shown = ["profiles.*"] + [
        f"(select {value} from {earlier[table]} as earlier where {same}) as {name}"  # noqa: S608
        for name, (table, value) in columns.items()
        if table in earlier
    ]
    if "er_scores" not in earlier:
        return f"select {', '.join(shown)} from ({query}) as profiles"  # noqa: S608
    keys = ", ".join(f"cast({name} as varchar) as {name}" for name in PAIR_KEYS)
    return f"""
        with candidates as (select {keys} from ({candidates.sql_query()})),

        scores as (select {keys}, choice_probability from {earlier["er_scores"]}),

        scored as (
            select left_source, left_id, list(choice_probability) as probabilities
            from candidates inner join scores using ({", ".join(PAIR_KEYS)})
            group by left_source, left_id
        )

        select {", ".join(shown)}, scored.probabilities
        from ({query}) as profiles
        left join scored on profiles.left_source = scored.left_source and profiles.id_text = scored.left_id
    """  # noqa: S608


def _with_ids(session: duckdb.DuckDBPyConnection, chosen: pa.Table) -> duckdb.DuckDBPyRelation:
    """The selection with the ids of the profiles, whose numbers it was made on."""
    selected = staged(
        session,
        chosen,
        "select profiles.left_source, profiles.left_id, chosen.strategy, chosen.rank, chosen.score, chosen.round "  # noqa: S608
        f"from {ARROW_ROWS} as chosen inner join {PROFILES} as profiles on chosen.left_id = profiles.n "
        "order by chosen.rank",
        SELECTED,
    )
    session.execute(f"drop table {PROFILES}")
    return selected
