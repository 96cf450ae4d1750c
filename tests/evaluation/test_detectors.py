"""Tests of the signals of over-optimisation and of the detectors that they make."""

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.evaluation.detectors import Watched, judge, outliers, repetition, sameness


def watched(signal, exploited, fold=0):
    return Watched(np.array(signal, float), np.array(exploited, bool), fold)


def test_repetition_counts_what_occurred_before_in_its_own_text():
    """'to be or not to be' has no trigram twice; 'no no no no' has one of two again; texts are independent."""
    assert repetition(["To be or not to be."]) == 0
    assert repetition(["no no no no"]) == 0.5
    assert repetition(["no no no no", "no no no no", ""]) == pytest.approx(1 / 3)


def test_sameness_counts_texts_that_occur_again():
    assert sameness(["a", "b", "c"]) == 0
    assert sameness(["a"] * 4) == 0.75


def test_outliers_use_the_shape_of_the_start():
    """A step along a direction of little variance is far, the same step along one of much variance is not."""
    start = np.random.default_rng(0).normal(size=(4000, 2)) * [1.0, 0.01]
    assert outliers(start, start + np.array([0.5, 0.0])) < 0.12
    assert outliers(start, start + np.array([0.0, 2.0])) == 1
    assert outliers(start, start[:400]) == pytest.approx(0.05, abs=0.03)
    rng = np.random.default_rng(1)
    shares = [outliers(rng.normal(size=(128, 96)), rng.normal(size=(128, 96))) for _ in range(20)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.02)  # new responses of the start, few for their many features
    constant = np.concatenate([start, np.ones((4000, 1))], axis=1)  # a feature without variance is no division by zero
    assert np.isfinite(outliers(constant, constant))


def test_a_detector_by_hand():
    """One of the evaluations without over-optimisation is above one with it."""
    quiet = watched([0.1] * 9 + [0.7], [False] * 10, fold=0)
    fooled = watched([0.2, 0.6, 0.9], [False, True, True], fold=1)
    found = judge([quiet, fooled])
    assert found.auc == pytest.approx(21 / 22)  # of 11 x 2 pairs, only (0.7, 0.6) is wrong
    assert found.threshold == 0.7
    assert found.found == 1.0  # 0.9 is above 0.7, the threshold of the quiet run
    assert found.false == 1.0  # 0.7 is above 0.2, the threshold of the other run


def test_a_run_has_no_part_in_its_own_threshold():
    """Nine quiet seeds look alike. The tenth is ten times as high, and its own evaluations would have hidden it."""
    ordinary = [watched([0.1] * 10, [False] * 10, fold) for fold in range(9)]
    unlike = watched([1.0] * 10, [False] * 10, fold=9)
    fooled = watched([0.1, 0.5], [False, True], fold=9)
    found = judge([*ordinary, unlike, fooled])
    assert found.threshold == 1.0  # more than 5 % of all evaluations are as high as this
    assert (found.found, found.false) == (1.0, 0.1)
    with pytest.raises(InputError, match="two folds"):
        judge([unlike, fooled])


def test_a_signal_without_information_has_half_the_area():
    rng = np.random.default_rng(0)
    runs = [watched(rng.normal(size=20), [False] * 10 + [bool(i % 2)] * 10, i % 3) for i in range(40)]
    found = judge(runs)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.15
    assert found.false > 0.3  # twenty evaluations with alarms in 5 % of them
    assert np.isnan(judge([run for run in runs if run.exploited_E.any()]).false)
