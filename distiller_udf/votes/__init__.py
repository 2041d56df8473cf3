"""Several teachers' answers about a left record become one label; how reliable each teacher is."""

from distiller_udf.votes.reliabilities import reliabilities
from distiller_udf.votes.voting import METHODS, vote

__all__ = ["METHODS", "reliabilities", "vote"]
