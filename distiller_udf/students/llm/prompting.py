"""Questions as the tokens of one language model: its chat template, the tokens of its answers, and what fits.

Training and serving make their prompts here, so that a student is asked exactly what it was taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from distiller_udf.errors import SettingsError
from distiller_udf.prompts import MAX_TOKEN_CANDIDATES, Question, messages, token_labels
from distiller_udf.records import normalise_value, parse_text, record_text

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer: ' }}{% endif %}"
)
"""For models that come without a chat template."""

TEMPLATE_ARGUMENTS: Mapping[str, Any] = {"enable_thinking": False}
"""A student answers at once; templates that know no thinking pass over this."""

REMEMBERED = 1024
"""So many prompts are kept: whether a question fits is asked shortly before it is asked itself."""

_SHORTEST_VALUE = 8


@dataclass(frozen=True)
class Prompt:
    """What a model reads, and the tokens of its possible answers: none (or no) first, then one a candidate."""

    tokens: tuple[int, ...]
    labels: tuple[int, ...] = ()


class Prompter:
    """Makes prompts for a tokenizer; at most `max_length` tokens long, the answer included.

    Raises SettingsError where an answer's letter is not one token of its own.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._own_system = _takes_system(tokenizer)
        self._rendered = lru_cache(REMEMBERED)(self._render)

    def conversation(self, question: Question) -> list[dict[str, str]]:
        """The chat messages of a question; the instructions go to the user where the template has no place for them."""
        asked = messages(question)
        if self._own_system:
            return asked
        return [{"role": "user", "content": "\n\n".join(message["content"] for message in asked)}]

    def tokens(self, question: Question) -> tuple[int, ...]:
        """The prompt's tokens, up to where the answer begins."""
        return self._rendered(question)

    def _render(self, question: Question) -> tuple[int, ...]:
        rendered = self.tokenizer.apply_chat_template(
            self.conversation(question), add_generation_prompt=True, return_dict=True, **TEMPLATE_ARGUMENTS
        )
        return tuple(rendered["input_ids"])

    def labels(self, question: Question) -> tuple[int, ...]:
        """The token of every possible answer: none (or no) first, then the candidates in order."""
        return tuple(self._token(label) for label in token_labels(question))

    def prompt(self, question: Question) -> Prompt:
        """A question that is answered with one token."""
        return Prompt(self.tokens(question), self.labels(question))

    def unanswered(self, question: Question) -> Prompt:
        """A question whose answer is written out."""
        return Prompt(self.tokens(question))

    def fits(self, question: Question, answer: int = 2) -> bool:
        """Whether a question and so many tokens of an answer are short enough."""
        return len(self.tokens(question)) + answer <= self.max_length

    def fitting(self, question: Question, answer: int = 2) -> Question:
        """The question with its longest values cut as far as it takes; raises SettingsError where nothing helps."""
        longest = max(
            (len(value) for text in (question.query, *question.candidates) for value in _values(text)), default=0
        )
        while not self.fits(question, answer):
            longest //= 2
            if longest < _SHORTEST_VALUE:
                raise SettingsError(
                    f"a question with {len(question.candidates)} candidates does not fit into {self.max_length} tokens "
                    "even with its values cut; raise max_length, or compare fewer columns"
                )
            cut = [_shortened(text, longest) for text in (question.query, *question.candidates)]
            question = Question(cut[0], tuple(cut[1:]), question.ask, question.reply, question.chosen)
        return question

    def heats(self, query: str, candidates: Sequence[str]) -> list[range]:
        """The candidates in as few even groups as fit into a question each."""
        count = max(1, -(-len(candidates) // MAX_TOKEN_CANDIDATES))
        while count < len(candidates):
            groups = _split(len(candidates), count)
            if all(self.fits(select(query, [candidates[i] for i in group])) for group in groups):
                break
            count += 1
        return _split(len(candidates), count)

    def _token(self, label: str) -> int:
        tokens = self.tokenizer.encode(label, add_special_tokens=False)
        if len(tokens) != 1:
            raise SettingsError(
                f"the model's tokenizer writes the answer {label!r} with {len(tokens)} tokens, and one is needed; "
                "take another base model"
            )
        return int(tokens[0])


def select(query: str, candidates: Sequence[str]) -> Question:
    """The question which of the candidates is the query, answered with one token."""
    return Question(query, tuple(candidates), "select", "token")


def match(query: str, candidate: str) -> Question:
    """The question whether two records are the same, answered with one token."""
    return Question(query, (candidate,), "match", "token")


def _split(count: int, groups: int) -> list[range]:
    """The positions below `count` in so many runs of nearly equal length."""
    ends = [round(i * count / groups) for i in range(groups + 1)]
    return [range(start, end) for start, end in pairwise(ends)]


def _takes_system(tokenizer: Any) -> bool:
    """Whether the chat template has a place for instructions; some models know the user alone."""
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            [{"role": "system", "content": "instructed"}, {"role": "user", "content": "asked"}],
            tokenize=False,
            add_generation_prompt=True,
            **TEMPLATE_ARGUMENTS,
        )
    except TemplateError:
        return False
    return "instructed" in text


def _values(text: str) -> list[str]:
    return [value for value in (parse_text(text) or {}).values() if isinstance(value, str)]


def _shortened(text: str, characters: int) -> str:
    """A canonical text whose values have at most so many characters."""
    record = parse_text(text) or {}
    return record_text({name: normalise_value(str(value)[:characters]) for name, value in record.items()})
