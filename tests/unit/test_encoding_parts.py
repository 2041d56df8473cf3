"""What the encoder's features are made of, each against a plain way to compute the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from distiller_udf.encoding import EncoderFeatures
from distiller_udf.encoding.features import EncodedRecord, RecordCache
from distiller_udf.encoding.loading import located
from distiller_udf.encoding.maxsim import (
    LIKENESSES,
    RARITY_STEPS,
    Reduction,
    Spans,
    TokenBank,
    closest,
    likenesses,
    token_weights,
)
from distiller_udf.encoding.texts import layouts, record_texts, tokens_by_column
from distiller_udf.encoding.token_encoder import TokenEncoder
from distiller_udf.errors import SettingsError
from distiller_udf.records import Records
from distiller_udf.settings import DEFAULT_ENCODER
from distiller_udf.similarity import Comparison, PairFeatures
from tests.tiny_encoder import needs_encoder

pytestmark = [needs_encoder, pytest.mark.usefixtures("one_thread")]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_likenesses_are_those_of_a_plain_loop() -> None:
    import torch

    rng = np.random.default_rng(0)
    scale = 250.0
    vectors = np.rint(unit(rng.normal(size=(300, 24))) * scale).clip(-127, 127).astype(np.int8)
    weights = rng.integers(1, RARITY_STEPS + 1, 300).astype(np.int16)
    bank = TokenBank(torch.from_numpy(vectors), torch.from_numpy(weights), scale)
    left, right = (Spans(rng.integers(0, 260, 200), rng.integers(1, 40, 200)) for _ in range(2))
    found = likenesses(bank, left, right)
    for row in range(200):
        a, b = (slice(s.starts[row], s.starts[row] + s.lengths[row]) for s in (left, right))
        x, y = vectors[a].astype(float) / scale, vectors[b].astype(float) / scale
        met = [(x @ y.T).max(1), (x @ y.T).max(0)]
        w = [weights[a] / RARITY_STEPS, weights[b] / RARITY_STEPS]
        plain = [m.mean() for m in met]
        rare = [(m * v).sum() / v.sum() for m, v in zip(met, w, strict=True)]
        unmet = [max(0.0, ((1 - m) * v).max()) for m, v in zip(met, w, strict=True)]
        cosine = x.sum(0) @ y.sum(0) / np.linalg.norm(x.sum(0)) / np.linalg.norm(y.sum(0))
        expected = [max(plain), min(plain), max(rare), min(rare), cosine, max(unmet), min(unmet)]
        assert found[row] == pytest.approx(expected, abs=1e-5), dict(zip(LIKENESSES, found[row], strict=True))


def test_the_closest_tokens_are_those_of_each_pair_alone_whatever_it_is_padded_with() -> None:
    import torch

    rng = np.random.default_rng(3)
    texts = [[unit(rng.normal(size=(rng.integers(1, 9), 6))).astype(np.float32) for _ in range(40)] for _ in range(2)]
    real = tuple(torch.arange(8) < torch.tensor([[len(text)] for text in side]) for side in texts)
    zeros, own = np.zeros((2, 40, 8, 6), np.float32), np.zeros((2, 40, 8, 6), np.float32)
    for side, row in np.ndindex(2, 40):
        text = texts[side][row]
        zeros[side, row, : len(text)] = text
        own[side, row] = text[np.minimum(np.arange(8), len(text) - 1)]
    masked = closest(*torch.from_numpy(zeros), real)
    padded = closest(*torch.from_numpy(own))
    for row, (left, right) in enumerate(zip(*texts, strict=True)):
        for side, expected in enumerate(((left @ right.T).max(1), (left @ right.T).max(0))):
            for found in (masked, padded):
                assert found[side][row][: len(expected)].numpy() == pytest.approx(expected, abs=1e-6)


def test_a_pair_of_the_longest_and_widest_tokens_is_exact() -> None:
    """The sums that int8 is for: no likeness may leave what float32 holds exactly."""
    import torch

    vectors = torch.full((512, 512), 127, dtype=torch.int8)
    vectors[1::2] = -127
    bank = TokenBank(vectors, torch.full((512,), RARITY_STEPS, dtype=torch.int16), 127 * np.sqrt(512))
    whole = Spans(np.asarray([0, 0]), np.asarray([511, 512]))
    found = likenesses(bank, whole, whole)
    names = list(LIKENESSES)
    assert found[:, names.index("met_min")] == pytest.approx([1.0, 1.0], abs=1e-7)
    assert found[:, names.index("unmet_max")] == pytest.approx([0.0, 0.0], abs=1e-7)
    assert found[0, names.index("cosine")] == pytest.approx(1.0, abs=1e-7)


def test_reduced_vectors_keep_their_products() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(2_000, 12)) @ rng.normal(size=(12, 64))).astype(np.float32)
    reduction = Reduction.fit(vectors, 16)
    whole = reduction.whole(vectors @ reduction.matrix).astype(float) / reduction.scale
    assert reduction.matrix.shape == (64, 16)
    assert np.abs(whole @ whole.T - vectors @ vectors.T).max() < 0.02
    assert np.abs(reduction.whole(vectors @ reduction.matrix)).max() == 127


def test_token_weights_fall_with_the_records_that_have_the_token() -> None:
    documents = [np.asarray([1, 1, 2]), np.asarray([1, 3]), np.asarray([1, 2])]
    weights = token_weights(documents, 6)
    assert weights[1] < weights[2] < weights[3] < weights[4] == weights[5] == RARITY_STEPS
    assert weights[1] > 0


def test_vectors_are_those_of_transformers(tiny_encoder: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["turntable black", "sony", "fine sound and deep bass " * 30, "é日", ""]
    encoder = TokenEncoder(tiny_encoder, max_length=24, precision="float32")
    tokens = encoder.tokenise(texts)
    theirs, tokenizer = AutoModel.from_pretrained(tiny_encoder), AutoTokenizer.from_pretrained(tiny_encoder)
    seen = set()
    for position, vectors in encoder.encode(tokens):
        inputs = tokenizer(texts[position], truncation=True, max_length=24, return_tensors="pt")
        with torch.no_grad():
            expected = unit(theirs(**inputs).last_hidden_state[0].numpy())
        assert vectors.shape == expected.shape
        assert np.abs(vectors - expected).max() < 1e-5
        seen.add(position)
    assert seen == set(range(len(texts)))


def test_bfloat16_is_close_to_float32(tiny_encoder: str) -> None:
    texts = ["turntable model 7 black", "sony fine sound"]
    found = {}
    for precision in ("float32", "bfloat16"):
        encoder = TokenEncoder(tiny_encoder, precision=precision)
        found[precision] = dict(encoder.encode(encoder.tokenise(texts)))
    for position in range(len(texts)):
        difference = np.abs(found["float32"][position] - found["bfloat16"][position]).max()
        assert 0 < difference < 0.05


def test_a_precision_that_is_not_offered_is_said(tiny_encoder: str) -> None:
    with pytest.raises(SettingsError) as raised:
        TokenEncoder(tiny_encoder, precision="int8")
    assert str(raised.value) == "precision is 'int8'. Allowed: auto, float32, bfloat16."


def test_tokens_belong_to_their_columns(tiny_encoder: str) -> None:
    encoder = TokenEncoder(tiny_encoder)
    records = Records.from_dicts([{"about": "fine sound", "title": "turntable 12", "maker": None, "price": "5"}])
    (text,), inverse = record_texts(records, ("title", "maker", "price", "about"))
    assert inverse.tolist() == [0]
    assert text is not None
    assert text.text == "turntable 12; 5; fine sound"
    assert text.columns == ("title", "price", "about")
    (tokens,) = encoder.tokenise([text.text])
    inside, columns = tokens_by_column(text, tokens)
    pieces = encoder.tokenizer.convert_ids_to_tokens(tokens.ids[inside].tolist())
    assert {name: pieces[a:b] for name, (a, b) in columns.items()} == {
        "title": ["turntable", "1", "##2"],
        "price": ["5"],
        "about": ["fine", "sound"],
    }


def test_what_names_a_record_is_read_first_and_sentences_last() -> None:
    told = [
        Comparison("record", ("about", "price", "title", "code"), ("about", "price", "title", "code")),
        Comparison("name", ("title",), ("title",)),
        Comparison("long", ("about",), ("about",)),
        Comparison("number", ("price",), ("price",)),
    ]
    assert layouts(told) == (("title", "price", "about", "code"),) * 2


def test_keys_tell_records_apart() -> None:
    rows = [{"a": "x", "b": "y"}, {"a": "x; y", "b": None}, {"a": None, "b": "x"}, {"a": "x", "b": None}]
    texts, _ = record_texts(Records.from_dicts(rows), ("a", "b"))
    assert len({text.key for text in texts if text}) == 4


def test_the_cache_drops_what_was_not_used_for_longest() -> None:
    record = EncodedRecord(np.zeros((10, 4), np.int8), np.zeros(10, np.int16), {})
    cache = RecordCache(max_bytes=3 * record.size)
    for key in (b"a", b"b", b"c"):
        cache.put(key, record)
    assert cache.get(b"a") is record
    cache.put(b"d", record)
    assert cache.get(b"b") is None
    assert [cache.get(key) is record for key in (b"a", b"c", b"d")] == [True] * 3
    cache.put(b"d", record)
    assert cache.bytes == 3 * record.size


def test_the_default_encoder_is_read_from_its_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(located(DEFAULT_ENCODER))
    assert (folder / "model.safetensors").is_file()
    assert located("elsewhere/all-MiniLM-L6-v2") == "elsewhere/all-MiniLM-L6-v2"
    monkeypatch.setattr("distiller_udf.encoding.loading.find_spec", lambda name: None)
    assert located(DEFAULT_ENCODER) == DEFAULT_ENCODER


def test_code_that_comes_with_an_encoder_is_never_run(
    tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers asks on the terminal, unless it is told: the answer here would be yes."""
    folder = tmp_path / "bert"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "elsewhere", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(SettingsError, match="cannot be loaded"):
        TokenEncoder(str(folder))
    assert not (tmp_path / "ran").exists()


def test_texts_are_not_padded_beyond_what_the_model_reads(tiny_encoder: str, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(tiny_encoder, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("position_embeddings.weight"))
    save_file({**weights, name: weights[name][:30].copy()}, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 30}))
    encoder = TokenEncoder(str(folder), max_length=64)
    ((_, vectors),) = encoder.encode(encoder.tokenise(["turntable model black " * 30]))
    assert vectors.shape == (30, 32)


def test_a_pretrained_encoder_finds_the_match() -> None:
    """Other words for the same thing, which share no token: what only a pretrained encoder can see."""
    left = ["notebook computer 14 inch", "loudspeaker for bookshelves", "cordless phone with answering machine"]
    right = ["laptop fourteen in.", "shelf speakers", "wireless telephone, voicemail"]
    sides = [Records.from_dicts([{"name": name} for name in names]) for names in (left, right)]
    told = PairFeatures.fit(*sides).comparisons
    features = EncoderFeatures.fit(*sides, told, local_only=True)
    a, b = np.divmod(np.arange(9), 3)
    matrix = features.transform(sides[0].take(a), sides[1].take(b))
    likeness = matrix[:, features.names.index("record:met_min")].reshape(3, 3)
    assert (likeness.argmax(1) == np.arange(3)).all()
    assert (likeness.argmax(0) == np.arange(3)).all()
