"""A task that a language model can learn from nothing in minutes: which candidate is the query with typing errors?

Names are made of syllables. Of the candidates, one at most is the query's name with one typing error; the others are
other names. The model is a small Qwen2 with random weights, and its tokenizer writes each line of the prompt that is
always the same as one token, so that what it reads is short.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from distiller_udf.encoding.loading import quiet
from distiller_udf.prompts import Question, messages
from distiller_udf.records import record_text

SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou")
LENGTH = 6
CANDIDATES = (2, 4)
CONTEXT = 4096
SEED = 0

_START, _END, _PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LABEL_SCHEMA = pa.schema(
    [
        ("left_source", pa.string()),
        ("left_id", pa.int64()),
        ("teacher", pa.string()),
        ("choice", pa.int32()),
        ("explanation", pa.string()),
        ("explanations", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float64())),
        ("query", pa.string()),
        ("options", pa.list_(pa.struct([("source", pa.string()), ("id", pa.int64()), ("record", pa.string())]))),
    ]
)


def label_table(count: int, seed: int, wrong: float = 0.0) -> pa.Table:
    """So many labelled tuples in the shape of `er_labels`; of the answers, a share `wrong` is another one."""
    rng = random.Random(seed)
    return pa.Table.from_pylist([_label(rng, number, wrong) for number in range(count)], _LABEL_SCHEMA)


def _label(rng: random.Random, number: int, wrong: float) -> dict[str, Any]:
    query = _name(rng)
    names = [_name(rng) for _ in range(rng.randint(*CANDIDATES))]
    choice = rng.randint(0, len(names))
    if choice:
        names[choice - 1] = misspelt(query, rng)
    explanation = f"{names[choice - 1]} is {query} with a typing error" if choice else f"no name is close to {query}"
    each = [
        f"{name} is {query} with a typing error" if i + 1 == choice else f"{name} is another name than {query}"
        for i, name in enumerate(names)
    ]
    if rng.random() < wrong:
        choice = rng.choice([other for other in range(len(names) + 1) if other != choice])
    return {
        "left_source": "l",
        "left_id": number,
        "teacher": "truth" if not wrong else "unsure",
        "choice": choice,
        "explanation": explanation,
        "explanations": each,
        "probabilities": None,
        "query": record_text({"name": query}),
        "options": [{"source": "r", "id": i, "record": record_text({"name": name})} for i, name in enumerate(names)],
    }


def _name(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(LENGTH))


def misspelt(name: str, rng: random.Random) -> str:
    """The name with two letters swapped, one left out, one replaced or one too many."""
    at = rng.randrange(len(name) - 1)
    before, here, behind = name[:at], name[at], name[at + 1 :]
    letter = rng.choice(string.ascii_lowercase)
    return rng.choice(
        [
            before + behind[0] + here + behind[1:],
            before + behind,
            before + letter + behind,
            before + letter + here + behind,
        ]
    )


def save_small_llm(folder: Path, width: int = 128, layers: int = 4, head: int = 32) -> None:
    """Write a Qwen2 of random weights, the same each time, and its tokenizer. vLLM takes no `head` narrower than 64."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = small_tokenizer()
    tokenizer.save_pretrained(folder)
    heads = width // head
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(SEED)
        Qwen2ForCausalLM(config).save_pretrained(folder)


def small_tokenizer() -> Any:
    """Bytes and syllables, and one token for each piece of the prompts that is always the same."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: number for number, sign in enumerate([*signs, *SYLLABLES])}
    bare = Tokenizer(models.BPE(vocab=vocabulary, merges=[(s[0], s[1]) for s in SYLLABLES]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare,
        eos_token=_END,
        pad_token=_PAD,
        additional_special_tokens=[_START],
        chat_template=_TEMPLATE,
        model_max_length=CONTEXT,
    )
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in _pieces()])
    return tokenizer


def _pieces() -> list[str]:
    """What is always the same in prompts about names: instructions, the lines around the records, their columns."""
    pieces: dict[str, None] = {}
    for ask, reply, chosen in (("select", "token", None), ("match", "token", None), ("justify", "explanation", 0)):
        shown = [_asked(ask, reply, chosen, first) for first in "ab"]
        pieces |= dict.fromkeys([shown[0][0]["content"], shown[0][0]["role"], shown[0][1]["role"]])
        lines = [set(each[1]["content"].split("\n")) for each in shown]
        pieces |= dict.fromkeys(sorted(lines[0] & lines[1]))
    return [*pieces, "assistant", '{"name":"', '{"explanation": "', '"}']


def _asked(ask: Any, reply: Any, chosen: int | None, first: str) -> Sequence[dict[str, str]]:
    candidates = tuple(record_text({"name": first + SYLLABLES[i]}) for i in range(1 if ask == "match" else 2))
    return messages(Question(record_text({"name": first}), candidates, ask, reply, chosen))
