"""Calibration metrics against hand arithmetic and labels drawn from known probabilities."""

import numpy as np
import pytest

from rmjax.evaluation.calibration import brier_score, calibration, calibration_error, reliability
from rmjax.evaluation.temperature import fit_temperature


def drawn(count, temperature=1.0, seed=5):
    """Gaps of a model at a temperature, with labels drawn from sigmoid(gap / temperature)."""
    generator = np.random.default_rng(seed)
    difference = generator.normal(size=count) * 2
    won = generator.random(count) < 1 / (1 + np.exp(-difference))
    return temperature * np.where(won, difference, -difference)


def test_calibration_error_by_hand():
    # Confidence 0.75 twice (bin 5 of 10): one right, one wrong; confidence 1: right.
    gap_P = np.array([np.log(3.0), -np.log(3.0), 100.0])
    assert calibration_error(gap_P) == pytest.approx(2 / 3 * abs(0.5 - 0.75))
    assert calibration_error(np.zeros(7)) == 0.0  # a coin with the confidence of a coin
    # Overconfidence in one bin (0.9, wrong) does not cancel underconfidence in another (0.6, right).
    assert calibration_error(np.log([1 / 9, 1.5])) == pytest.approx((0.9 + 0.4) / 2)
    assert np.isnan(calibration_error(np.array([])))


def test_brier_score_by_hand():
    assert brier_score(np.array([np.log(3.0), -np.log(3.0), 0.0])) == pytest.approx((1 / 16 + 9 / 16 + 1 / 4) / 3)
    assert brier_score(np.array([1e4])) == 0.0
    assert brier_score(np.array([-1e4])) == 1.0
    assert np.isnan(brier_score(np.array([])))


def test_reliability_bins_by_hand():
    bins = reliability(np.array([np.log(3.0), -np.log(3.0), np.log(3.2), 0.0, 50.0]), bins=5)
    assert [bin["pairs"] for bin in bins] == [1, 0, 3, 0, 1]
    assert [(bin["low"], bin["high"]) for bin in bins] == [
        pytest.approx((low, low + 0.1)) for low in np.arange(5, 10) / 10
    ]
    assert (bins[0]["confidence"], bins[0]["accuracy"]) == (0.5, 0.5)
    assert bins[2]["confidence"] == pytest.approx((0.75 + 0.75 + 3.2 / 4.2) / 3)
    assert bins[2]["accuracy"] == pytest.approx(2 / 3)
    assert (bins[4]["confidence"], bins[4]["accuracy"]) == (1.0, 1.0)
    assert np.isnan([bins[1]["confidence"], bins[1]["accuracy"]]).all()


def test_only_labels_drawn_from_the_probabilities_are_calibrated():
    gap_P = drawn(100_000)
    assert calibration_error(gap_P) < 0.01
    assert all(abs(bin["accuracy"] - bin["confidence"]) < 0.02 for bin in reliability(gap_P))
    for factor in (0.25, 4.0):
        assert calibration_error(factor * gap_P) > 0.05
        assert brier_score(factor * gap_P) > brier_score(gap_P)


def test_calibration_is_measured_with_and_without_a_temperature():
    fit_P, test_P = drawn(20_000, 3.0), drawn(20_000, 3.0, seed=6)
    temperature = fit_temperature(fit_P)
    result = calibration(test_P, temperature)
    assert result["calibration_error"] == calibration_error(test_P)
    assert result["brier"] == brier_score(test_P)
    tempered = result["tempered"]
    assert tempered["temperature"] == temperature.value
    assert tempered["calibration_error"] == calibration_error(test_P / temperature.value) < 0.02
    assert tempered["brier"] < result["brier"]
    assert tempered["loss"] < result["loss"]
    assert sum(bin["pairs"] for bin in tempered["bins"]) == result["pairs"] == 20_000
    # A temperature keeps the order of every pair.
    right = [sum(bin["accuracy"] * bin["pairs"] for bin in part["bins"] if bin["pairs"]) for part in (result, tempered)]
    assert right[0] == pytest.approx(right[1])
    assert calibration(test_P, None)["tempered"] is None
