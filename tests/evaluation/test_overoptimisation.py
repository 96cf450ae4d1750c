"""Tests of the fits over KL divergence, γ, the peak of the gold reward and the tail index."""

import math

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.overoptimisation import Fit, degree, find_peak, fit_form, hill_index


@pytest.mark.parametrize("form", ["best-of-n", "RL"])
def test_a_fit_finds_the_coefficients_and_the_peak(form):
    """The peak by a fine grid."""
    d = np.linspace(0, 4, 30)
    true = Fit(form, 1.2, 0.4, 1.0)
    fit = fit_form(d, true.at(d), form)
    assert (fit.alpha, fit.beta, fit.r2) == pytest.approx((1.2, 0.4, 1.0))
    fine = np.linspace(0, 20, 200_001)
    assert fit.peak == pytest.approx(fine[true.at(fine).argmax()], abs=1e-3)
    assert math.isinf(Fit(form, 1.2, -0.1, 1.0).peak)
    assert fit.at(np.zeros(1)) == 0


def test_a_fit_minimises_the_squared_error():
    """Small changes of α and β make it worse; R² is that of the residuals."""
    rng = np.random.default_rng(0)
    d = rng.uniform(0.1, 3, 40)
    gain = 2 * d - d**2 + rng.normal(size=40)
    fit = fit_form(d, gain, "best-of-n")

    def error(alpha, beta):
        return ((gain - Fit("best-of-n", alpha, beta, 0.0).at(d)) ** 2).sum()

    best = error(fit.alpha, fit.beta)
    for change in (-1e-3, 1e-3):
        assert error(fit.alpha + change, fit.beta) > best < error(fit.alpha, fit.beta + change)
    assert fit.r2 == pytest.approx(1 - best / ((gain - gain.mean()) ** 2).sum())
    with pytest.raises(InputError, match="needs three points away from the start, found 2"):
        fit_form(np.array([0.0, 1.0, 2.0]), np.zeros(3), "RL")


def test_the_degree_is_an_area_between_two_parabolas():
    """Gold d(2 - d), proxy 2d, to d = 2: the areas are 8/3 and 4/3."""
    gold, proxy = Fit("best-of-n", 2.0, 1.0, 1.0), Fit("best-of-n", 2.0, 0.0, 1.0)
    assert degree(gold, proxy, 2.0) == pytest.approx((8 / 3) / (4 / 3), rel=1e-4)
    assert degree(gold, gold, 2.0) == 0
    assert math.isnan(degree(Fit("best-of-n", -1.0, 0.0, 1.0), proxy, 2.0))


def test_a_peak_is_not_found_in_noise():
    """A gold reward that does not change: the largest mean seems to be a peak, the cross-fitted decline is about 0."""
    rng = np.random.default_rng(0)
    naive, declines, false, anywhere = [], [], 0, 0
    for seed in range(200):
        gold = rng.normal(size=(15, 64))
        peak = find_peak(np.arange(15.0), np.arange(15.0)[:, None] + gold, gold, Bootstrap(200, seed))
        naive.append(gold[-1].mean() - gold.mean(1).max())
        declines.append(peak.decline)
        false += peak.overoptimised
        anywhere += any(peak.exploited_E)
    assert np.mean(naive) < -0.15  # the bias that cross-fitting removes
    assert abs(np.mean(declines)) < 4 * np.std(declines) / 200**0.5
    assert false <= 18  # 4 % are expected; binomial with 200 trials and 0.04: P(> 18) < 1e-3
    assert anywhere == false  # an evaluation counts if the decline lasts to the end


def test_a_peak_and_a_decline_are_found():
    """Gold 1 - (d - 2)², proxy d: the peak is at 2, the decline from it to d = 4 is 4."""
    rng = np.random.default_rng(0)
    d = np.linspace(0, 4, 9)
    gold = (1 - (d - 2) ** 2)[:, None] + 0.3 * rng.normal(size=(9, 100))
    proxy = np.repeat(d[:, None], 100, axis=1)
    peak = find_peak(d, proxy, gold, Bootstrap(500, 0))
    assert (peak.d, peak.proxy_rise) == (2.0, 2.0)
    assert peak.interval[0] < -4 < peak.interval[1]
    assert peak.overoptimised
    assert not find_peak(d, -proxy, gold, Bootstrap(500, 0)).overoptimised  # the proxy falls too: nothing is exploited
    with pytest.raises(InputError, match="at least four prompts, found 3"):
        find_peak(d, proxy[:, :3], gold[:, :3], Bootstrap(0, 0))


def test_the_tail_index_of_power_laws_and_of_a_normal_distribution():
    """Hill's formula by a loop, and the order of three tails."""
    rng = np.random.default_rng(0)
    error = rng.standard_t(3, size=2000)
    x = sorted((error - np.median(error)).tolist(), reverse=True)
    expected = 100 / sum(math.log(x[i] / x[100]) for i in range(100))
    assert hill_index(error) == pytest.approx(expected)
    cauchy, student, normal = rng.standard_cauchy(20_000), rng.standard_t(3, size=20_000), rng.normal(size=20_000)
    assert hill_index(cauchy) < hill_index(student) < hill_index(normal)
    with pytest.raises(InputError, match="found a tail of 5"):
        hill_index(error[:100])
