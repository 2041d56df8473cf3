"""The LLM student: a language model that reads a whole tuple and answers with one constrained token."""

from distiller_udf.students.llm.engine import ENGINES, Serving, serving_of
from distiller_udf.students.llm.student import LLMStudent, Weights

__all__ = ["ENGINES", "LLMStudent", "Serving", "Weights", "serving_of"]
