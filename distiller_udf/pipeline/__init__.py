"""What the Python models do: DuckDB relations in, relations out. The models themselves are a few lines each."""

from distiller_udf.pipeline.embeddings import embed, nearest
from distiller_udf.pipeline.labels import label, reliability, vote
from distiller_udf.pipeline.relations import former_tables
from distiller_udf.pipeline.scores import choices, current_student, score
from distiller_udf.pipeline.selection import select_tuples

__all__ = [
    "choices",
    "current_student",
    "embed",
    "former_tables",
    "label",
    "nearest",
    "reliability",
    "score",
    "select_tuples",
    "vote",
]
