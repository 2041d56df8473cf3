"""Questions as the tokens of one language model: its chat template, the tokens of its answers, and what fits.

Training and serving make their prompts here, so that a student is asked exactly what it was taught.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from typing import Any

from distiller_udf.english import counted
from distiller_udf.errors import SettingsError
from distiller_udf.prompts import MAX_TOKEN_CANDIDATES, Question, messages, token_labels
from distiller_udf.records import parse_text

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:\n' }}{% endif %}"
)
"""For models that come without a chat template."""

NO_CLOCK = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"
"""Stands before templates that write today's date: tomorrow a student must read what it was taught today."""

TEMPLATE_ARGUMENTS: Mapping[str, Any] = {"enable_thinking": False}
"""A student answers at once; templates that know no thinking pass over this."""

REMEMBERED = 1024
"""So many prompts are kept: whether a question fits is asked shortly before it is asked itself."""

RECORD_SHARE = 4
"""A record takes at most this part of all tokens: one long value must not keep all candidates apart."""

EXPLANATION_TOKENS, EXPLANATION_SHARE = 160, 4
"""A reason has at most so many tokens, and at most this part of all."""

_SHORTEST_VALUE = 8


@dataclass(frozen=True)
class Prompt:
    """What a model reads, and the tokens of its possible answers: none (or no) first, then one a candidate."""

    tokens: tuple[int, ...]
    labels: tuple[int, ...] = ()


class Prompter:
    """Makes prompts for a tokenizer.

    A prompt has at most `max_length` tokens with its answer, and at most so many `candidates`. Raises SettingsError
    where an answer's letter is not one token of its own.
    """

    def __init__(self, tokenizer: Any, max_length: int, candidates: int = MAX_TOKEN_CANDIDATES) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.candidates = min(candidates, MAX_TOKEN_CANDIDATES)
        tokenizer.chat_template = _timeless(tokenizer.chat_template or PLAIN_TEMPLATE)
        self._own_system = _takes_system(tokenizer)
        self.tokens = lru_cache(REMEMBERED)(self._tokens)
        self._labels: dict[str, int] = {}

    def conversation(self, question: Question) -> list[dict[str, str]]:
        """The chat messages of a question; the instructions go to the user where the template has no place for them.

        No record holds what the tokenizer would take for a sign of its own, such as the end of a turn.
        """
        system, user = (message["content"] for message in messages(question, self._signs))
        if self._own_system:
            return [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return [{"role": "user", "content": f"{system}\n\n{user}"}]

    def _tokens(self, question: Question) -> tuple[int, ...]:
        """The prompt's tokens, up to where the answer begins."""
        rendered = self.tokenizer.apply_chat_template(
            self.conversation(question), add_generation_prompt=True, return_dict=True, **TEMPLATE_ARGUMENTS
        )
        return tuple(rendered["input_ids"])

    def labels(self, question: Question) -> tuple[int, ...]:
        """The token of every possible answer: none (or no) first, then the candidates in order."""
        names = token_labels(question)
        for name in names:
            if name not in self._labels:
                self._labels[name] = self._token(name)
        return tuple(self._labels[name] for name in names)

    @cached_property
    def end(self) -> int:
        """The token that ends an answer: what the chat template writes behind one."""
        talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "answered"}]
        text = self.tokenizer.apply_chat_template(talk, tokenize=False, **TEMPLATE_ARGUMENTS)
        behind = self.tokenizer.encode(text.rpartition("answered")[2].lstrip(), add_special_tokens=False)
        known = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        return int(behind[0] if behind and behind[0] in known else self.tokenizer.eos_token_id)

    @property
    def explanation_tokens(self) -> int:
        """How long a reason may be."""
        return min(EXPLANATION_TOKENS, self.max_length // EXPLANATION_SHARE)

    def prompt(self, question: Question) -> Prompt:
        """A question, with the labels of its answers where it is answered with one token."""
        return Prompt(self.tokens(question), self.labels(question) if question.reply == "token" else ())

    def fits(self, question: Question, answer: int = 2) -> bool:
        """Whether a question has few enough candidates, and is short enough with so many tokens of an answer."""
        few = len(question.candidates) <= self.candidates
        return few and len(self.tokens(question)) + answer <= self.max_length

    def fitting(self, question: Question, answer: int = 2) -> Question:
        """The question with its records cut as far as it takes; raises SettingsError where nothing helps."""
        texts = (question.query, *question.candidates)
        for shortened in _ever_shorter(texts):
            asked = replace(question, query=shortened[0], candidates=tuple(shortened[1:]))
            if self.fits(asked, answer):
                return asked
        raise SettingsError(
            f"a question with {counted(len(question.candidates), 'candidate')} does not fit into {self.max_length} "
            "tokens; raise max_length"
        )

    def readable(self, text: str) -> str:
        """A record as it is shown: its longest values cut where it would take more than its share of all tokens."""
        most = self.max_length // RECORD_SHARE
        if len(text) <= most:  # no tokenizer makes more tokens than bytes, and few make as many as characters
            return text
        for (shortened,) in _ever_shorter((text,)):
            if len(self.tokenizer.encode(shortened, add_special_tokens=False)) <= most:
                return shortened
        return text

    def heats(self, query: str, candidates: Sequence[str]) -> list[range]:
        """The candidates in as few even groups as fit into a question each."""
        count = max(1, -(-len(candidates) // self.candidates))
        while count < len(candidates):
            groups = _split(len(candidates), count)
            if all(self.fits(select(query, [candidates[i] for i in group])) for group in groups):
                break
            count += 1
        return _split(len(candidates), count)

    @cached_property
    def _signs(self) -> list[str]:
        """What the tokenizer reads as a sign of its own wherever it stands."""
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)
        return sorted(sign for sign in {*self.tokenizer.all_special_tokens, *added} if sign and not sign.isspace())

    def _token(self, label: str) -> int:
        """The one token that is added where this label follows a prompt; alone, some tokenizers write a space first."""
        question = select("{}", ["{}"])
        prompt = self.tokenizer.apply_chat_template(
            self.conversation(question), add_generation_prompt=True, tokenize=False, **TEMPLATE_ARGUMENTS
        )
        before, after = (self.tokenizer.encode(text, add_special_tokens=False) for text in (prompt, prompt + label))
        if after[: len(before)] == before and len(after) == len(before) + 1:
            return int(after[-1])
        alone = self.tokenizer.encode(label, add_special_tokens=False)
        if len(alone) != 1:
            raise SettingsError(
                f"the model's tokenizer writes the answer {label!r} with {counted(len(alone), 'token')}, and one is "
                "needed; take another base model"
            )
        return int(alone[0])


def _timeless(template: Any) -> Any:
    """A chat template that knows no clock."""
    reads_it = isinstance(template, str) and "strftime_now" in template and not template.startswith(NO_CLOCK)
    return NO_CLOCK + template if reads_it else template


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


def _ever_shorter(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The canonical texts as they are, then with their longest values halved again and again, then fewer columns."""
    yield tuple(texts)
    records = [parse_text(text) for text in texts]
    longest = max((len(v) for record in records for v in record.values() if isinstance(v, str)), default=0)
    while (longest := longest // 2) >= _SHORTEST_VALUE:
        yield tuple(_cut(record, longest) for record in records)
    for columns in range(max(map(len, records), default=0) - 1, 0, -1):
        yield tuple(_cut(dict(islice(record.items(), columns)), _SHORTEST_VALUE) for record in records)


def _cut(record: Mapping[str, Any], characters: int) -> str:
    """The canonical text of a record whose texts have at most so many characters."""
    values = {name: value[:characters].rstrip() if isinstance(value, str) else value for name, value in record.items()}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
