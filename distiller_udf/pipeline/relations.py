"""Relations as the Python models handle them: their keys, what is in them, Arrow rows back into DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import duckdb

TUPLE_KEYS = ("left_source", "left_id")
RIVAL_KEYS = (*TUPLE_KEYS, "right_source")
"""Candidates of the same source compete: a record may have a match in each of the others."""

PAIR_KEYS = (*RIVAL_KEYS, "right_id")
ARROW_ROWS, STAGED_ROWS = "er_arrow_rows", "er_staged_rows"


def is_empty(relation: duckdb.DuckDBPyRelation) -> bool:
    """Whether a relation has no rows. It is counted: DuckDB 2.0 can hang on `limit 1` over a large join."""
    return bool(relation.aggregate("count(*)").fetchall()[0][0] == 0)


def former_tables(session: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What the last run left of the models that the macro `_er_tell_former` names, by name, as SQL names the tables."""
    return dict(session.execute("select getvariable('er_former')").fetchall()[0][0] or {})


def with_id_type(
    session: duckdb.DuckDBPyConnection, rows: pa.Table | pa.RecordBatchReader, pairs: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Arrow rows as a relation, with their ids in the type that `left_id` has in `pairs`; Arrow may not know it (UUID,
    HUGEINT).
    """
    kind = pairs.types[pairs.columns.index("left_id")]
    options = f"STRUCT(source VARCHAR, id {kind}, record VARCHAR)[]"
    casts = {"left_id": kind, "right_id": kind, "options": options}
    columns = (f"cast({c} as {casts[c]}) as {c}" if c in casts else c for c in rows.schema.names)
    return staged(session, rows, f"select {', '.join(columns)} from {ARROW_ROWS}")  # noqa: S608


def staged(
    session: duckdb.DuckDBPyConnection,
    rows: pa.Table | pa.RecordBatchReader,
    query: str = f"from {ARROW_ROWS}",
    name: str = STAGED_ROWS,
) -> duckdb.DuckDBPyRelation:
    """Arrow rows in the temporary table `name`, so that the stream they come from ends here.

    `query` is what becomes of them, which it knows as ARROW_ROWS.
    """
    session.register(ARROW_ROWS, rows)
    try:
        session.execute(f"create or replace temp table {name} as {query}")
    finally:
        session.unregister(ARROW_ROWS)
    return session.table(name)
