"""The candidates that rows of `er_labels` show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distiller_udf.records import one_array
from distiller_udf.votes.codes import codes, together


@dataclass(frozen=True)
class Candidates:
    """The candidates of each row: `starts` and `lengths` a row; one entry a candidate: its `row`, `position` there,
    `code` (which names the candidate) and `rank` among the row's codes.
    """

    starts: np.ndarray
    lengths: np.ndarray
    row: np.ndarray
    position: np.ndarray
    rank: np.ndarray
    code: np.ndarray

    @classmethod
    def of(cls, labels: pa.Table) -> Candidates:
        options = one_array(labels["options"])
        lengths = pc.fill_null(pc.list_value_length(options), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
        code = np.zeros(int(lengths.sum()), dtype=np.int64)
        for part in options.flatten().flatten():
            code = together(code, codes(part))
        row = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(row)) - starts[row]
        rank = np.empty_like(position)
        rank[np.lexsort((code, row))] = position
        return cls(starts, lengths, row, position, rank, code)
