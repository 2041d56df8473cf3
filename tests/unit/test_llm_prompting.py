"""Prompts of an LLM student: the tokens of a model's own template, one token an answer, and what fits."""

from __future__ import annotations

import pytest

from distiller_udf.errors import SettingsError
from distiller_udf.prompts import messages
from distiller_udf.students.llm.prompting import PLAIN_TEMPLATE, Prompter, select
from tests.small_llm import needs_llm, small_prompter

pytestmark = needs_llm


def names(count: int, length: int = 4) -> list[str]:
    return [f'{{"name":"{chr(97 + i % 26) * length}{i}"}}' for i in range(count)]


def test_a_prompt_is_the_template_of_the_messages_up_to_the_answer() -> None:
    prompter = small_prompter()
    question = select(*_asked(3))
    text = prompter.tokenizer.apply_chat_template(messages(question), tokenize=False, add_generation_prompt=True)
    assert prompter.tokenizer.decode(prompter.tokens(question)) == text
    assert [prompter.tokenizer.decode([label]) for label in prompter.labels(question)] == ["0", "A", "B", "C"]


def test_a_model_without_a_template_gets_a_plain_one() -> None:
    tokenizer = small_prompter().tokenizer
    tokenizer.chat_template = None
    prompter = Prompter(tokenizer, 512)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert prompter.tokenizer.decode(prompter.tokens(select(*_asked(2)))).endswith("Answer:\n")


def test_where_no_system_message_is_taken_the_user_gives_the_instructions() -> None:
    tokenizer = small_prompter().tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m['content'] }}{% endfor %}"
    )
    (said,) = Prompter(tokenizer, 512).conversation(select(*_asked(2)))
    instructions, question = (message["content"] for message in messages(select(*_asked(2))))
    assert said == {"role": "user", "content": f"{instructions}\n\n{question}"}


def test_an_answer_of_two_tokens_is_refused() -> None:
    prompter = small_prompter()
    encode = prompter.tokenizer.encode
    prompter.tokenizer.encode = lambda text, **given: [1, 2] if text.endswith("B") else encode(text, **given)
    with pytest.raises(SettingsError, match="writes the answer 'B' with 2 tokens"):
        prompter.labels(select(*_asked(2)))


def test_few_candidates_are_one_heat_and_many_are_even_ones() -> None:
    prompter = small_prompter()
    query, *candidates = names(41)
    assert prompter.heats(query, candidates[:19]) == [range(19)]
    assert prompter.heats(query, candidates) == [range(13), range(13, 27), range(27, 40)]


def test_candidates_that_are_too_long_together_are_heats_as_well() -> None:
    prompter = small_prompter(200)
    query, *candidates = names(9, 30)
    heats = prompter.heats(query, candidates)
    assert len(heats) > 1
    assert [i for heat in heats for i in heat] == list(range(8))
    assert all(prompter.fits(select(query, [candidates[i] for i in heat])) for heat in heats)


def test_values_are_cut_as_far_as_it_takes() -> None:
    prompter = small_prompter(160)
    long = select('{"name":"' + "x" * 400 + '"}', ['{"name":"' + "y" * 300 + '","town":"z"}'])
    cut = prompter.fitting(long)
    assert prompter.fits(cut)
    assert not prompter.fits(long)
    assert cut.query.startswith('{"name":"xxxxxxxx')
    assert cut.candidates[0].endswith('y","town":"z"}')


def test_an_answer_that_is_written_otherwise_alone_is_found_behind_a_prompt() -> None:
    """Some tokenizers put a space before whatever begins a text."""
    prompter = small_prompter()
    encode = prompter.tokenizer.encode
    prompter.tokenizer.encode = lambda text, **given: [7] * (len(text) == 1) + encode(text, **given)
    assert [prompter.tokenizer.decode([label]) for label in prompter.labels(select(*_asked(2)))] == ["0", "A", "B"]


def test_an_answer_ends_as_the_template_ends_a_turn() -> None:
    prompter = small_prompter()
    prompter.tokenizer.eos_token = "<|endoftext|>"
    assert prompter.tokenizer.decode([prompter.end]) == "<|im_end|>"


def test_a_record_cannot_hold_a_sign_of_the_template() -> None:
    prompter = small_prompter()
    question = select('{"name":"x<|im_end|>y"}', ['{"name":"[INST]"}'])
    prompter.tokenizer.add_special_tokens({"additional_special_tokens": ["[INST]"]})
    tokens = Prompter(prompter.tokenizer, 512).tokens(question)
    ends = [prompter.tokenizer.convert_tokens_to_ids(sign) for sign in ("<|im_end|>", "[INST]")]
    assert [tokens.count(end) for end in ends] == [2, 0]
    assert '"\\u005bINST]"' in prompter.tokenizer.decode(tokens)


def test_one_long_record_does_not_keep_the_candidates_apart() -> None:
    prompter = small_prompter(400)
    query, *candidates = names(19)
    candidates[3] = '{"name":"' + "long " * 400 + '"}'
    shown = [prompter.readable(text) for text in candidates]
    assert shown[:3] == candidates[:3]
    assert len(prompter.heats(query, candidates)) == len(candidates)
    assert len(prompter.heats(query, shown)) <= 2


def test_heats_are_no_wider_than_what_was_taught() -> None:
    prompter = Prompter(small_prompter().tokenizer, 4096, candidates=4)
    query, *candidates = names(11)
    assert [len(heat) for heat in prompter.heats(query, candidates)] == [3, 4, 3]


def test_what_cannot_fit_says_so() -> None:
    with pytest.raises(SettingsError, match="does not fit into 20 tokens"):
        small_prompter(20).fitting(select(*_asked(2)))


def _asked(count: int) -> tuple[str, list[str]]:
    query, *candidates = names(count + 1)
    return query, candidates


def test_a_template_that_writes_todays_date_is_rendered_the_same_tomorrow() -> None:
    tokenizer = small_prompter().tokenizer
    dated = "{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
    tokenizer.chat_template = dated + "Today Date: {{ date_string }}\n" + PLAIN_TEMPLATE
    question = select('{"name":"a"}', ['{"name":"b"}'])
    once = Prompter(tokenizer, 512).tokens(question)
    assert "Today Date: 26 Jul 2024" in tokenizer.decode(once)
    template = tokenizer.chat_template
    assert Prompter(tokenizer, 512).tokens(question) == once
    assert tokenizer.chat_template == template
