"""The encoder's features: what they say of a pair, and that they say the same in any batch, order and process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from distiller_udf.encoding import EncoderFeatures
from distiller_udf.encoding.features import RecordCache
from distiller_udf.encoding.texts import record_texts
from distiller_udf.errors import SettingsError
from distiller_udf.records import Records
from distiller_udf.similarity import Comparison, PairFeatures
from tests.tiny_encoder import needs_encoder

pytestmark = [needs_encoder, pytest.mark.usefixtures("one_thread")]

COLUMNS = [
    Comparison("record", ("maker", "title", "price", "about"), ("maker", "title", "price", "about")),
    Comparison("name", ("title",), ("title",)),
    Comparison("text", ("maker",), ("maker",)),
    Comparison("long", ("about",), ("about",)),
    Comparison("number", ("price",), ("price",)),
]


@pytest.fixture(scope="module")
def features(tiny_encoder: str) -> EncoderFeatures:
    left, right = pairs()
    return EncoderFeatures.fit(left, right, COLUMNS, tiny_encoder, dimensions=16)


def pairs(count: int = 60) -> tuple[Records, Records]:
    """Products; every third pair is the same product, every seventh lacks its maker."""

    def product(i: int, side: int) -> dict[str, str | None]:
        return {
            "maker": None if i % 7 == 0 else ["sony", "yamaha", "bose"][i % 3],
            "title": f"turntable model {i} {'black' if side else 'silver'}",
            "price": str(10 + i),
            "about": " ".join(["fine sound and deep bass"] * (1 + i % 5)) + f" {i}",
        }

    rows = range(count)
    return (
        Records.from_dicts([product(i, 0) for i in rows]),
        Records.from_dicts([product(i if i % 3 == 0 else i + 1, 1) for i in rows]),
    )


def value(features: EncoderFeatures, row: np.ndarray, name: str) -> float:
    return float(row[features.names.index(name)])


def test_it_has_the_shape_of_pair_features(features: EncoderFeatures) -> None:
    left, right = pairs()
    matrix = features.transform(left, right)
    assert matrix.dtype == np.float32
    assert matrix.shape == (60, len(features.names))
    assert len(features.names) == len(features.directions) == len(features.groups) == len(set(features.names))
    assert features.comparisons == COLUMNS
    assert features.groups == [i for i in (0, 1, 2, 3) for _ in range(7)]
    assert {n.split(":")[0] for n in features.names} == {"record", "title", "maker", "about"}


def test_equal_records_are_met_in_full_and_others_less(features: EncoderFeatures) -> None:
    left, right = pairs()
    same, other = features.transform(left, left), features.transform(left, right)
    for name, direction in zip(features.names, features.directions, strict=True):
        column = features.names.index(name)
        best = 0.0 if direction < 0 else 1.0
        assert np.nanmax(np.abs(same[:, column] - best)) < 0.05, name
        assert direction * (np.nanmean(same[:, column]) - np.nanmean(other[:, column])) >= 0, name


def test_what_is_missing_is_nan_and_nothing_else(features: EncoderFeatures) -> None:
    left, right = pairs()
    matrix = features.transform(left, right)
    makers = [left.columns["maker"].codes < 0, right.columns["maker"].codes < 0]
    for column, name in enumerate(features.names):
        expected = makers[0] | makers[1] if name.startswith("maker") else np.zeros(60, dtype=bool)
        assert (np.isnan(matrix[:, column]) == expected).all(), name


def test_a_pair_is_the_same_alone_and_in_any_batch(features: EncoderFeatures) -> None:
    left, right = pairs()
    features.cache = RecordCache()
    together = features.transform(left, right)
    for rows in (np.arange(60)[::-1], np.asarray([5]), np.asarray([5, 40]), np.asarray([7] * 9)):
        features.cache = RecordCache()
        assert np.array_equal(features.transform(left.take(rows), right.take(rows)), together[rows], equal_nan=True)


def test_the_order_of_the_two_records_makes_no_difference(features: EncoderFeatures) -> None:
    left, right = pairs()
    turned = right.with_columns(right.names[::-1])
    assert np.array_equal(features.transform(left, right), features.transform(turned, left), equal_nan=True)


def test_unlike_columns_are_compared_as_told(tiny_encoder: str) -> None:
    left = Records.from_dicts([{"title": "turntable black", "maker": "sony"}, {"title": None, "maker": "bose"}])
    right = Records.from_dicts([{"label": "turntable silver"}, {"label": "bose"}])
    told = [
        Comparison("record", ("title", "maker"), ("label",)),
        Comparison("name", ("title", "maker"), ("label",)),
    ]
    features = EncoderFeatures.fit(left, right, told, tiny_encoder)
    matrix = features.transform(left, right)
    assert not np.isnan(matrix).any(), "where there is no title, the maker names the record"
    assert {n.split(":")[0] for n in features.names} == {"record", "title+maker~label"}
    assert value(features, matrix[1], "title+maker~label:met_min") > value(
        features, matrix[0], "title+maker~label:met_min"
    )


def test_rare_tokens_count_more(features: EncoderFeatures) -> None:
    left, right = (Records.from_dicts([{"title": t}]) for t in ("turntable model 17", "turntable model 44"))
    row = features.transform(left, right)[0]
    assert value(features, row, "title:rare_met_min") < value(features, row, "title:met_min")


def test_saved_and_loaded_it_is_the_same_to_the_last_bit(features: EncoderFeatures, tmp_path: Path) -> None:
    left, right = pairs()
    features.save(tmp_path / "encoder")
    loaded = EncoderFeatures.load(tmp_path / "encoder")
    assert (loaded.names, loaded.directions, loaded.groups) == (features.names, features.directions, features.groups)
    assert loaded.comparisons == features.comparisons
    assert np.array_equal(loaded.transform(left, right), features.transform(left, right), equal_nan=True)


def test_what_is_saved_is_a_model_of_transformers(features: EncoderFeatures, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    features.save(tmp_path)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {p.name for p in tmp_path.iterdir()}
    theirs = AutoModel.from_pretrained(tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)("turntable black")["input_ids"]
    assert ids == features.encoder.tokenise(["turntable black"])[0].ids.tolist()
    ours = dict(features.encoder.model.named_parameters())
    assert all((ours[name].float() == weight.float()).all() for name, weight in theirs.named_parameters())


@pytest.mark.slow
def test_another_process_computes_the_same(features: EncoderFeatures, tmp_path: Path) -> None:
    features.save(tmp_path)
    code = f"""
import json, sys, torch
torch.set_num_threads(1)
from pathlib import Path
from distiller_udf.encoding import EncoderFeatures
from distiller_udf.records import Records
features = EncoderFeatures.load(Path({str(tmp_path)!r}))
left, right = Records.from_dicts([{{"title": "turntable 3"}}]), Records.from_dicts([{{"title": "turntable 4"}}])
print(features.transform(left, right).tobytes().hex())
"""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    sides = (Records.from_dicts([{"title": f"turntable {i}"}]) for i in (3, 4))
    assert ran.stdout.strip() == features.transform(*sides).tobytes().hex()


BAD = [
    {"title": None, "maker": None, "price": None, "about": None},
    {"title": "\x00\x07\u2028 \ud83d", "maker": "\ud800", "price": "nan", "about": "\ufeff"},
    {"title": "🎉" * 50, "maker": "日本語", "price": "٣", "about": "e\u0301 ﬀ ß"},
    {"title": "word " * 20_000, "maker": "x" * 100_000, "price": "1", "about": "12" * 9_000},
    {"title": "[CLS] [SEP] [PAD]", "maker": "; ; ;", "price": ";", "about": ":"},
]


@pytest.mark.parametrize("bad", BAD)
def test_out_of_the_ordinary_values_are_nan_or_bounded(features: EncoderFeatures, bad: dict[str, str | None]) -> None:
    left, right = pairs(1)
    for sides in ((Records.from_dicts([bad]), right), (left, Records.from_dicts([bad]))):
        matrix = features.transform(*sides)
        known = matrix[~np.isnan(matrix)]
        assert ((known > -1.01) & (known < 2.01)).all()
        if not any(bad.values()):
            assert np.isnan(matrix).all()


def test_a_column_behind_a_text_that_is_too_long_is_not_comparable(tiny_encoder: str) -> None:
    left, right = pairs()
    features = EncoderFeatures.fit(left, right, COLUMNS, tiny_encoder, max_length=8)
    matrix = features.transform(left, right)
    assert np.isnan(matrix[:, [n.startswith("about") for n in features.names]]).all()
    assert not np.isnan(matrix[:, [n.startswith("title") for n in features.names]]).any()


def test_plain_text_is_compared_as_a_whole(features: EncoderFeatures) -> None:
    _, right = pairs(1)
    matrix = features.transform(Records.from_texts(["turntable model 0 black"]), right)
    whole = [n.startswith("record") for n in features.names]
    assert not np.isnan(matrix[:, whole]).any()
    assert np.isnan(matrix[:, np.invert(whole)]).all()


def test_records_of_one_text_column(tiny_encoder: str) -> None:
    left, right = Records.from_texts(["turntable black", "bose"]), Records.from_texts(["turntable silver", "bose"])
    told = PairFeatures.fit(left, right).comparisons
    features = EncoderFeatures.fit(left, right, told, tiny_encoder)
    matrix = features.transform(left, right)
    assert value(features, matrix[1], "record:met_min") == pytest.approx(1.0, abs=0.05)
    assert not np.isnan(matrix).any()


def test_no_pairs_and_no_columns(features: EncoderFeatures, tiny_encoder: str) -> None:
    left, right = pairs(1)
    nothing = np.zeros(0, dtype=np.int64)
    assert features.transform(left.take(nothing), right.take(nothing)).shape == (0, len(features.names))
    assert np.isnan(features.transform(Records({}, 2), Records({}, 2))).all()
    numbers = EncoderFeatures.fit(left, right, [Comparison("number", ("price",), ("price",))], tiny_encoder)
    assert numbers.transform(left, right).shape == (1, 0)
    empty = EncoderFeatures.fit(left.take(nothing), right.take(nothing), COLUMNS, tiny_encoder)
    assert empty.transform(left, right).shape == (1, len(features.names))


def test_records_are_encoded_once(features: EncoderFeatures) -> None:
    left, right = pairs()
    features.cache = RecordCache()
    asked: list[int] = []
    encode = features.encoder.encode
    features.encoder.encode = lambda texts, projection=None: asked.append(len(texts)) or encode(texts, projection)  # type: ignore[assignment, func-returns-value]
    try:
        features.transform(left.take(np.arange(60).repeat(3)), right.take(np.arange(60).repeat(3)))
        features.transform(right, left)
    finally:
        del features.encoder.encode
    texts = {t.key for side in (left, right) for t in record_texts(side, left.names)[0] if t}
    assert sum(asked) == len(texts) == len(features.cache)


def test_the_cache_is_bounded_and_a_small_one_changes_nothing(features: EncoderFeatures) -> None:
    left, right = pairs()
    expected = features.transform(left, right)
    features.cache = RecordCache(max_bytes=5_000)
    assert np.array_equal(features.transform(left, right), expected, equal_nan=True)
    assert 0 < features.cache.bytes <= 5_000
    assert len(features.cache) < 10
    features.cache = RecordCache()


def test_threads_share_it(features: EncoderFeatures) -> None:
    left, right = pairs()
    features.cache = RecordCache(max_bytes=20_000)
    expected = features.transform(left, right)
    wrong: list[int] = []

    def ask(i: int) -> None:
        rows = np.random.default_rng(i).permutation(60)[:20]
        found = features.transform(left.take(rows), right.take(rows))
        if not np.array_equal(found, expected[rows], equal_nan=True):
            wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    features.cache = RecordCache()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_length": 2}, "max_length is 2; it must be a whole number of tokens from 3"),
        ({"dimensions": 0}, "dimensions is 0; it must be a whole number from 1 to 512"),
    ],
)
def test_impossible_settings_are_said(tiny_encoder: str, settings: dict[str, int], said: str) -> None:
    left, right = pairs(2)
    with pytest.raises(SettingsError) as raised:
        EncoderFeatures.fit(left, right, COLUMNS, tiny_encoder, **settings)  # type: ignore[arg-type]
    assert str(raised.value) == said


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    left, right = pairs(2)
    with pytest.raises(SettingsError, match="cannot be loaded; give a local folder with safetensors"):
        EncoderFeatures.fit(left, right, COLUMNS, str(tmp_path / "no model"), local_only=True)


def test_weights_that_need_pickle_are_refused(tiny_encoder: str, tmp_path: Path) -> None:
    import torch

    for file in Path(tiny_encoder).iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    left, right = pairs(2)
    with pytest.raises(SettingsError, match="safetensors"):
        EncoderFeatures.fit(left, right, COLUMNS, str(tmp_path), local_only=True)


def test_weights_and_arrays_that_are_cut_off_are_said(features: EncoderFeatures, tmp_path: Path) -> None:
    for name, error in (("model.safetensors", SettingsError), ("encoding.safetensors", ValueError)):
        folder = tmp_path / name
        features.save(folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:1_000])
        with pytest.raises(error):
            EncoderFeatures.load(folder)


@pytest.mark.parametrize("lost", ["tokenizer.json", "model.safetensors", "config.json"])
def test_a_folder_that_lacks_a_part_is_said(features: EncoderFeatures, tmp_path: Path, lost: str) -> None:
    features.save(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(SettingsError, match=r"cannot be loaded|has no tokenizer"):
        EncoderFeatures.load(tmp_path)


def test_a_missing_torch_is_said() -> None:
    code = """
import sys
sys.modules["torch"] = None
from distiller_udf.encoding import EncoderFeatures
from distiller_udf.errors import SettingsError
from distiller_udf.records import Records
one = Records.from_dicts([{"a": "b"}])
try:
    EncoderFeatures.fit(one, one, [])
except SettingsError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install -c constraints.txt '.[encoder]'" in ran.stdout


def test_the_saved_state_is_json_and_safetensors(features: EncoderFeatures, tmp_path: Path) -> None:
    features.save(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".json", ".safetensors", ".txt", ".jinja"}
    state = json.loads((tmp_path / "encoding.json").read_text(encoding="utf-8"))
    assert state["max_length"] == features.encoder.max_length
