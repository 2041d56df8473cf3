"""Cross-fitted models: calibration where held-out scores say nothing, a line without trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distiller_udf.settings.training import PairSettings
from distiller_udf.students.odds import sigmoid
from distiller_udf.students.pair_model import PairModel, Scale
from distiller_udf.training.fit.calibration import PENALISED, calibration, losses
from distiller_udf.training.fit.pair_model import Rows, cross_fit


@pytest.mark.parametrize("share", [0.05, 0.12, 0.6])
def test_scores_that_say_nothing_keep_their_order_and_the_share_of_matches(share: float) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(400) < share).astype(float)
    scores = 3 - 4 * labels + rng.normal(size=400)  # worse than nothing: matches score lower
    slope, intercept = calibration(scores, labels, np.ones(400), PENALISED)
    assert 0 < slope < 0.1
    assert sigmoid(slope * scores + intercept).mean() == pytest.approx(labels.mean(), abs=2e-3)


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0, 6.0])
def test_scores_that_a_penalty_drew_together_mean_what_few_labels_say(truth: float) -> None:
    rng = np.random.default_rng(0)
    all_scores = rng.normal(-1, 1.2, 4000)
    expected = sigmoid(truth * all_scores)
    for count, most in ((60, 0.05), (1000, 0.01)):
        lost = []
        for _ in range(20):
            scores = rng.normal(-1, 1.2, count)
            labels = (rng.random(count) < sigmoid(truth * scores)).astype(float)
            slope, intercept = calibration(scores, labels, np.ones(count), PENALISED)
            lost.append(losses(slope * all_scores + intercept, expected).mean())
        assert np.mean(lost) - losses(truth * all_scores, expected).mean() < most


def test_without_rounds_the_line_decides_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(200, 3)).astype(np.float32)
    labels = (matrix[:, 0] + 0.3 * rng.normal(size=200) > 0).astype(float)
    rows = Rows(matrix, labels, np.ones(200), np.arange(200) // 4)
    model = cross_fit(rows, [1, 0, 0], PairSettings(rounds=0), Scale.fit(matrix)).model
    assert model.boosters == []
    assert np.mean((model.log_odds(matrix) > 0) == (labels > 0.5)) > 0.85
    again = PairModel.load(tmp_path, "m", model.save(tmp_path, "m"))
    np.testing.assert_array_equal(again.log_odds(matrix), model.log_odds(matrix))
