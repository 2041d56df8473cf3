"""The LLM student: a language model that reads a whole tuple and answers with one constrained token."""

from distiller_udf.students.llm.engine import Serving
from distiller_udf.students.llm.student import LLMStudent, Weights

__all__ = ["LLMStudent", "Serving", "Weights"]
