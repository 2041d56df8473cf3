"""Prompts: a question becomes messages, a reply becomes an answer."""

from distiller_udf.prompts.asking import Asking, Posed, with_costs
from distiller_udf.prompts.question import ASKS, PROMPT_VERSIONS, REPLIES, Answer, Ask, Asked, Question, Reply
from distiller_udf.prompts.replies import parse_answer
from distiller_udf.prompts.wording import answer_schema, messages

__all__ = [
    "ASKS",
    "PROMPT_VERSIONS",
    "REPLIES",
    "Answer",
    "Ask",
    "Asked",
    "Asking",
    "Posed",
    "Question",
    "Reply",
    "answer_schema",
    "messages",
    "parse_answer",
    "with_costs",
]
