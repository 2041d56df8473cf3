"""The line of a pair model, its scale, and the whole pair model: signs, gaps, and the same value in any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distiller_udf.settings.training import PairSettings
from distiller_udf.students.odds import sigmoid
from distiller_udf.students.pair_model import CLIP, Line, PairModel, Scale
from distiller_udf.training.fit.pair_model import Rows, cross_fit, fit_line, mean_line


def rows_of(matrix: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Rows:
    weights = np.ones(len(labels)) if weights is None else weights
    return Rows(matrix.astype(np.float32), labels.astype(float), weights, np.arange(len(labels)))


def drawn(weights: list[float], count: int = 3000, seed: int = 0) -> Rows:
    """Standard normal features, soft labels by a line through them."""
    matrix = np.random.default_rng(seed).normal(size=(count, len(weights)))
    return rows_of(matrix, sigmoid(matrix @ np.asarray(weights) - 0.5))


def test_a_line_finds_the_weights_that_labels_were_drawn_from() -> None:
    rows = drawn([1.5, -0.8, 0.0])
    line = fit_line(rows, [0, 0, 0], Scale.fit(rows.matrix), ridge=0.01)
    np.testing.assert_allclose(line.weights, [1.5, -0.8, 0.0], atol=0.1)
    assert line.bias == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("true", [1.0, -1.0])
def test_weights_keep_the_signs_of_their_directions(true: float) -> None:
    rows = drawn([true, true, true])
    line = fit_line(rows, [1, -1, 0], Scale.fit(rows.matrix), ridge=0.1)
    assert line.weights[0] >= 0 >= line.weights[1]
    # Where the labels say the opposite nothing is left of the feature; the free one follows them.
    assert line.weights[1 if true > 0 else 0] == pytest.approx(0.0, abs=1e-9)
    assert line.weights[0 if true > 0 else 1] * true > 0.5
    assert line.weights[2] * true > 0.5


def test_a_gap_is_free_to_say_what_it_likes() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(600, 1))
    gone = rng.random(600) < 0.4
    matrix[gone] = np.nan
    rows = rows_of(matrix, np.where(gone, 0.0, 1.0))
    line = fit_line(rows, [1], Scale.fit(rows.matrix), ridge=1.0)
    assert line.weights.shape == (2,)
    assert line.weights[1] < -1
    assert (line(rows.matrix[gone]) < 0).all()
    assert (line(rows.matrix[~gone]) > 0).all()


def test_a_larger_penalty_gives_a_flatter_line_and_separable_labels_an_end() -> None:
    matrix = np.linspace(-1, 1, 40)[:, None]
    rows = rows_of(matrix, matrix[:, 0] > 0)
    steep, flat = (fit_line(rows, [1], Scale.fit(rows.matrix), ridge).weights[0] for ridge in (0.1, 50.0))
    assert 0 < flat < steep < 50


def test_weights_of_rows_count() -> None:
    matrix = np.asarray([[-1.0], [1.0]] * 20)
    labels = np.asarray([1.0, 1.0] + [0.0, 1.0] * 19)
    heavy = np.where(np.arange(40) == 0, 200.0, 1.0)
    scale = Scale.fit(matrix)
    believed, doubted = (fit_line(rows_of(matrix, labels, w), [0], scale, 1.0) for w in (heavy, np.ones(40)))
    low = np.asarray([[-1.0]])
    assert believed(low)[0] > 0 > doubted(low)[0]


def test_the_mean_of_lines_scores_their_mean() -> None:
    rows = drawn([1.0, -1.0], 200)
    scale = Scale.fit(rows.matrix)
    lines = [fit_line(rows.take(np.arange(i, 200, 3)), [0, 0], scale, 1.0) for i in range(3)]
    expected = np.mean([line(rows.matrix) for line in lines], axis=0)
    np.testing.assert_allclose(mean_line(lines)(rows.matrix), expected, atol=1e-9)


def test_a_scale_standardises_clips_and_marks_gaps() -> None:
    features = np.asarray([[1.0, np.nan, 5.0, 0.0], [3.0, np.nan, 5.0, np.nan], [5.0, np.nan, 5.0, 4.0]], np.float32)
    scale = Scale.fit(features)
    assert scale.gaps.tolist() == [1, 3]
    assert scale.deviation.tolist() == pytest.approx([np.std([1, 3, 5]), 1.0, 1.0, 2.0])
    applied = scale.apply(features)
    assert applied.shape == (3, 6)
    assert np.isfinite(applied).all()
    assert applied[:, 0].tolist() == pytest.approx([-np.sqrt(1.5), 0.0, np.sqrt(1.5)])
    assert (applied[:, 1:3] == 0).all()
    assert applied[:, 3].tolist() == [-1.0, 0.0, 1.0]
    assert applied[:, 4:].tolist() == [[1, 0], [1, 1], [1, 0]]
    # What was never seen before: another value of a constant, a value where there was none, a gap where there was none.
    strange = scale.apply(np.asarray([[1e30, 7.0, -1e30, 1.0], [np.nan, np.nan, np.nan, np.nan]], np.float32))
    assert strange[0, :4].tolist() == [CLIP, CLIP, -CLIP, -0.5]
    assert (strange[1, :4] == 0).all()


def test_a_scale_of_one_row_or_of_none_is_finite() -> None:
    for features in (np.zeros((0, 3), np.float32), np.asarray([[1.0, np.nan, -2.0]], np.float32)):
        scale = Scale.fit(features)
        applied = scale.apply(np.asarray([[1.0, 2.0, np.nan]], np.float32))
        assert np.isfinite(applied).all()


@pytest.fixture(scope="module")
def model() -> PairModel:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(300, 37)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(matrix[:, 0]) + np.nan_to_num(matrix[:, 1]) ** 2 > 1).astype(float)
    rows = Rows(matrix, labels, np.ones(300), np.arange(300) // 3)
    settings = PairSettings(folds=3, rounds=20)
    return cross_fit(rows, [1] + [0] * 36, settings, Scale.fit(matrix)).model


def some_features(count: int = 257) -> np.ndarray:
    rng = np.random.default_rng(9)
    features = rng.normal(size=(count, 37)).astype(np.float32)
    features[rng.random(features.shape) < 0.2] = np.nan
    return features


@pytest.mark.slow
def test_a_row_has_the_same_log_odds_in_any_batch(model: PairModel) -> None:
    features = some_features()
    whole = model.log_odds(features)
    assert len(set(whole.tolist())) > 250
    for size in (1, 2, 3, 100):
        parts = [model.log_odds(features[i : i + size]) for i in range(0, len(features), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(model.log_odds(features[::-1])[::-1], whole)
    np.testing.assert_array_equal(model.log_odds(np.asfortranarray(features)), whole)
    stacked = np.column_stack([np.asfortranarray(features[:, :20]), features[:, 20:]])
    np.testing.assert_array_equal(model.log_odds(stacked), whole)


def test_no_rows_have_no_log_odds(model: PairModel) -> None:
    assert model.log_odds(np.zeros((0, 37), np.float32)).shape == (0,)


def test_a_saved_model_is_the_same(model: PairModel, tmp_path: Path) -> None:
    state = model.save(tmp_path, "pair")
    loaded = PairModel.load(tmp_path, "pair", state)
    np.testing.assert_array_equal(loaded.log_odds(some_features()), model.log_odds(some_features()))


def test_the_line_carries_on_between_what_was_labelled() -> None:
    """Labels know the clear cases alone; between them a model of trees would give all one value."""
    matrix = np.concatenate([np.linspace(0, 0.1, 60), np.linspace(0.9, 1, 60)])[:, None]
    rows = rows_of(matrix, matrix[:, 0] > 0.5)
    middle = np.linspace(0.2, 0.8, 30, dtype=np.float32)[:, None]
    scores = cross_fit(rows, [1], PairSettings(folds=3), Scale.fit(matrix)).model.log_odds(middle)
    assert (np.diff(scores) > 0).all()
    assert isinstance(scores, np.ndarray)


def test_trees_see_what_a_line_cannot() -> None:
    rng = np.random.default_rng(5)
    matrix = rng.uniform(-1, 1, size=(800, 2)).astype(np.float32)
    rows = rows_of(matrix, np.abs(matrix[:, 0]) > 0.5)
    scale = Scale.fit(matrix)
    line = fit_line(rows, [0, 0], scale, 1.0)
    fit = cross_fit(rows, [0, 0], PairSettings(folds=3, rounds=100), scale)
    assert isinstance(fit.model.line, Line)
    assert np.mean((line(matrix) > 0) == rows.labels) < 0.65
    assert np.mean((fit.held_out > 0) == rows.labels) > 0.85
