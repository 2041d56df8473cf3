"""What the Python models er_embeddings and er_neighbours_by_embeddings do: records → vectors → the nearest of each."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from distiller_udf.encoding.record_vectors import RecordEncoder, shortlists
from distiller_udf.english import counted
from distiller_udf.pipeline.relations import ARROW_ROWS, staged
from distiller_udf.records import Records
from distiller_udf.settings import Settings
from distiller_udf.sql import quoted

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

KEPT = ("source", "id", "fingerprint")
ROWS_AT_ONCE = 2_048


def embed(
    session: duckdb.DuckDBPyConnection,
    records: duckdb.DuckDBPyRelation,
    settings: Settings,
    embedded: duckdb.DuckDBPyRelation | None = None,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_embeddings` that are not in `embedded` yet: records that are new, or have changed.

    With another encoder or other columns all rows are new. Raises SettingsError where the encoder cannot be loaded.
    """
    columns = settings.blocking_columns or [name for name in records.columns if name not in KEPT]
    model = settings.blocking_encoder
    made_with = json.dumps([model, list(columns)], ensure_ascii=False)
    wanted = records
    if embedded is not None:
        import duckdb

        same = embedded.filter(duckdb.ColumnExpression("made_with") == duckdb.ConstantExpression(made_with))
        wanted = records.set_alias("r").join(same.set_alias("e"), ", ".join(KEPT), how="anti")
    total = wanted.aggregate("count(*)").fetchall()[0][0]
    record = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in columns)
    query = wanted.select(f"{', '.join(KEPT)}, struct_pack({record}) as record").sql_query()
    reader = session.cursor().sql(query).to_arrow_reader(ROWS_AT_ONCE)
    schema = pa.schema(
        [*(reader.schema.field(name) for name in KEPT), ("made_with", pa.string()), ("vector", pa.list_(pa.float32()))]
    )
    encoder = None
    if total:
        encoder = RecordEncoder(model, local_only=settings.local_only)
    rows = _encoded(encoder, reader, schema, columns, made_with, total)
    kind = records.types[records.columns.index("id")]
    query = f"select * replace (cast(id as {kind}) as id) from {ARROW_ROWS}"  # noqa: S608
    return staged(session, pa.RecordBatchReader.from_batches(schema, rows), query)


def nearest(
    session: duckdb.DuckDBPyConnection,
    embeddings: duckdb.DuckDBPyRelation,
    numbered: duckdb.DuckDBPyRelation,
    settings: Settings,
) -> duckdb.DuckDBPyRelation:
    """The rows of `er_neighbours_by_embeddings`: for each record those of every source whose vectors are nearest.

    Raises SettingsError where the extra `encoder` is not installed.
    """
    joined = numbered.set_alias("n").join(embeddings.set_alias("e"), "source, id")
    found = joined.select("n, source_rank, vector").filter("vector is not null").order("n").to_arrow_table()
    vectors = _matrix(found["vector"])
    numbers, sources = (found[name].to_numpy() for name in ("n", "source_rank"))
    length = _top_k(settings.blocking, settings.blocking_top_k) + 2
    lists = shortlists(vectors, numbers, sources, settings.resolved_task, length, settings.blocking_index)
    rows = pa.table({"n": pa.array(numbers, pa.uint32()), "shortlist": lists})
    listed = staged(session, rows)
    every = numbered.set_alias("n").join(listed.set_alias("l"), "n", how="left")
    return every.select("n, source, id, coalesce(shortlist, []) as shortlist")


def _encoded(
    encoder: RecordEncoder | None,
    reader: pa.RecordBatchReader,
    schema: pa.Schema,
    columns: Sequence[str],
    made_with: str,
    total: int,
) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in reader:
        if batch.num_rows == 0 or encoder is None:
            continue
        vectors = encoder.encode(Records.from_arrow(batch["record"]), columns)
        empty = np.isnan(vectors[:, 0])
        offsets = np.arange(len(vectors) + 1, dtype=np.int32) * encoder.width
        lists = pa.ListArray.from_arrays(offsets, vectors.ravel(), mask=pa.array(empty))
        parts = [*(batch[name] for name in KEPT), pa.array([made_with] * batch.num_rows), lists]
        done += batch.num_rows
        logger.info("er_embeddings: encoded %s of %s", f"{done:,}", counted(total, "record"))
        yield pa.RecordBatch.from_arrays(parts, schema=schema)


def _matrix(vectors: pa.ChunkedArray) -> np.ndarray:
    flat = vectors.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(vectors), -1 if len(vectors) else 0), dtype=np.float32)


def _top_k(way: Any, default: int) -> int:
    """How many neighbours by embeddings er_blocking asks for at most; it has been checked by then."""
    if isinstance(way, list):
        return max((_top_k(part, default) for part in way), default=0)
    if isinstance(way, Mapping):
        options = way.get("embeddings") or {}
        own = int(options.get("top_k", default)) if "embeddings" in way else 0
        return max(own, _top_k(way.get("all") or [], default))
    return default if way == "embeddings" else 0
