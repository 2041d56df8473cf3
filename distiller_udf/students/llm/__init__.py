"""The LLM student: a language model that reads a whole tuple and answers with one constrained token."""

from distiller_udf.students.llm.engine import ENGINES, SETTINGS, Serving, placed, serving_of
from distiller_udf.students.llm.student import LLMStudent, Weights

__all__ = ["ENGINES", "SETTINGS", "LLMStudent", "Serving", "Weights", "placed", "serving_of"]
