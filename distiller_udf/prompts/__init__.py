"""Prompts: a question becomes messages, a reply becomes an answer."""

from distiller_udf.prompts.asking import Asking, Posed, with_costs
from distiller_udf.prompts.question import (
    ASKS,
    PROMPT_VERSIONS,
    Answer,
    Answerer,
    Ask,
    Question,
    Reply,
    label_key,
    parameters_text,
    why,
)
from distiller_udf.prompts.replies import parse_answer, read_reply, reply_of_reason
from distiller_udf.prompts.token import MAX_TOKEN_CANDIDATES, read_token, token_labels
from distiller_udf.prompts.wording import messages, reply_schema

__all__ = [
    "ASKS",
    "MAX_TOKEN_CANDIDATES",
    "PROMPT_VERSIONS",
    "Answer",
    "Answerer",
    "Ask",
    "Asking",
    "Posed",
    "Question",
    "Reply",
    "label_key",
    "messages",
    "parameters_text",
    "parse_answer",
    "read_reply",
    "read_token",
    "reply_of_reason",
    "reply_schema",
    "token_labels",
    "why",
    "with_costs",
]
