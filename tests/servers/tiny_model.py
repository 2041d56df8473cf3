"""A language model of about a million random parameters with a real tokenizer, small enough to serve in a test."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SEED = 7
CONTEXT = 8192
MOST_ROUNDS, GOOD_LOSS = 200, 0.1
_END, _START, _PAD = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
_LINES = (
    "You decide which records describe the same real-world entity.",
    '{"name":"Sony Turntable PS-LX250H","price":"399.0","maker":"Sony"}',
    '{"explanation": "same model, other price", "choice": 1, "confidence": 0.9}',
    "Which candidate describes the same entity as the query? Reply with the JSON object and nothing else.",
)
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_model(folder: Path, lessons: Sequence[tuple[list[dict[str, str]], str]] = ()) -> None:
    """Write a tiny Qwen2 and its tokenizer to `folder`, the same weights each time.

    It knows nothing but `lessons`, messages and the reply to them, which it learns by heart. vLLM on a CPU refuses
    heads smaller than 64.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = Qwen2ForCausalLM(config)
        # The usual small start says nearly the same about every token; these weights have opinions.
        model.lm_head.weight.data.normal_(std=0.3)
        if lessons:
            _teach(model, tokenizer, lessons)
    model.save_pretrained(folder)


def _teach(model: Any, tokenizer: Any, lessons: Sequence[tuple[list[dict[str, str]], str]]) -> None:
    """Train until every token of every reply is the likeliest one by far."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    read = []
    for messages, reply in lessons:
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        said = tokenizer.encode(reply + _END)
        read.append((torch.tensor([tokenizer.encode(prompt) + said]), len(said)))
    for _ in range(MOST_ROUNDS):
        worst = 0.0
        for tokens, length in read:
            logits = model(tokens, logits_to_keep=length + 1).logits[0, :-1]
            losses = torch.nn.functional.cross_entropy(logits, tokens[0, -length:], reduction="none")
            worst = max(worst, float(losses.detach().max()))
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
        if worst < GOOD_LOSS:
            return
    raise AssertionError(f"the tiny model has not learned its lessons: loss {worst:.2f}")


def _tokenizer() -> Any:
    """Byte-level BPE: any text is readable; every digit and every capital letter is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[_PAD, _START, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator(_LINES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, eos_token=_END, pad_token=_PAD, chat_template=_TEMPLATE, model_max_length=CONTEXT
    )
    one_token = string.digits + string.ascii_uppercase
    assert all(len(tokenizer.encode(sign)) == 1 for sign in one_token)
    return tokenizer
