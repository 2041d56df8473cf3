"""Pairs of records as similarity features, and which columns are compared."""

from distiller_udf.similarity.columns import ComparedFeatures, Comparison, Matching, filled_columns, match_columns
from distiller_udf.similarity.features import PairFeatures

__all__ = ["ComparedFeatures", "Comparison", "Matching", "PairFeatures", "filled_columns", "match_columns"]
