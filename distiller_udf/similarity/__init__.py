"""Pairs of records as similarity features, and which columns are compared."""

from distiller_udf.similarity.columns import Comparison
from distiller_udf.similarity.features import PairFeatures

__all__ = ["Comparison", "PairFeatures"]
