"""Pairs of records as similarity features, and which columns are compared."""

from distiller_udf.similarity.columns import ComparedFeatures, Comparison
from distiller_udf.similarity.features import PairFeatures

__all__ = ["ComparedFeatures", "Comparison", "PairFeatures"]
