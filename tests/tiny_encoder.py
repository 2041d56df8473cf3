"""A BERT of random weights, made in the test: letters, digits and a few words are its vocabulary."""

from __future__ import annotations

import string
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

needs_encoder = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="needs distiller-udf[encoder]"
)


def save_tiny_encoder(folder: Path) -> None:
    """Write the encoder and its tokenizer to `folder`, the same weights each time."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    words = "turntable model black silver sony yamaha bose fine sound deep bass and".split()
    pieces = [*signs, *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    bare = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=50))
    bare.normalizer = normalizers.BertNormalizer(lowercase=True)
    bare.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    save_bert(folder, bare, hidden_size=32, max_position_embeddings=64)


def save_bert(folder: Path, bare: Any, **shape: Any) -> None:
    """Write a BERT of two layers for a tokenizer that knows [CLS] and [SEP], the same weights each time."""
    import torch
    from tokenizers import processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    ends = [(sign, bare.token_to_id(sign)) for sign in ("[CLS]", "[SEP]")]
    bare.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 2 * shape["hidden_size"]}
    config = BertConfig(vocab_size=len(tokenizer), **heads, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
