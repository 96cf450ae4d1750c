"""Calibration of the probabilities P(winner) = sigmoid(gap): reliability, expected calibration error, Brier score.

`gap_P` is the log odds of the winner of each pair: for a Bradley-Terry model its score minus that of the loser, as in
`metrics.py`. A ranking of K responses gives K(K-1)/2 pairs that share responses. Pairs are pooled, so long rankings
have more weight, and a bin of n pairs has a larger error than n independent pairs would have.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy

from rmjax.evaluation import metrics
from rmjax.evaluation.temperature import Temperature

BINS = 10


def reliability(gap_P: np.ndarray, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Returns confidence and accuracy of the pairs, in bins of equal width of the confidence in [1/2, 1].

    Returns:
        For each bin `low` and `high` (its ends), `confidence` (mean of sigmoid(|gap|)), `accuracy` (mean of
        `metrics.pair_credit`) and `pairs`; NaN in a bin without pairs. A calibrated model has accuracy = confidence.

    Source: DeGroot & Fienberg (1983); on the confidence in the preferred response, Guo et al. (1706.04599), section 2.

    Example:
        >>> low, high = reliability(np.log([4.0, 1 / 4]), bins=2)  # confidence 0.8 in both pairs, one is right
        >>> low["pairs"], high["pairs"], round(high["confidence"], 6), high["accuracy"]
        (0, 2, 0.8, 0.5)
    """
    confidence_P = scipy.special.expit(np.abs(np.asarray(gap_P, np.float64)))
    bin_P = np.minimum(((confidence_P - 0.5) * 2 * bins).astype(int), bins - 1)
    result = []
    for bin in range(bins):
        inside = bin_P == bin
        result.append(
            {
                "low": 0.5 + bin / (2 * bins),
                "high": 0.5 + (bin + 1) / (2 * bins),
                "confidence": float(confidence_P[inside].mean()) if inside.any() else math.nan,
                "accuracy": metrics.accuracy(np.asarray(gap_P)[inside]),
                "pairs": int(inside.sum()),
            }
        )
    return result


def calibration_error(gap_P: np.ndarray, *, bins: int = BINS) -> float:
    """Returns the expected calibration error: Σ_b (n_b / P) · |accuracy_b - mean confidence_b| over `reliability`.

    0 means, for example, that the accuracy is 80 % on the pairs with a confidence of 80 %.

    Source: Naeini et al. (2015); for reward models, Bai et al. (2204.05862), section 3.

    Example:
        >>> round(calibration_error(np.log([4.0, 1 / 4])), 6)  # |0.5 - 0.8|
        0.3
    """
    if len(gap_P) == 0:
        return math.nan
    filled = [bin for bin in reliability(gap_P, bins=bins) if bin["pairs"]]
    return sum(bin["pairs"] * abs(bin["accuracy"] - bin["confidence"]) for bin in filled) / len(gap_P)


def brier_score(gap_P: np.ndarray) -> float:
    """Returns the mean of (1 - P(winner))²: 0 is certain and right, 1/4 is a coin, 1 is certain and wrong.

    Unlike the calibration error it also depends on how well the model separates the pairs, and it needs no bins.

    Source: Brier (1950), for one of the two outcomes.

    Example:
        >>> round(brier_score(np.log([3.0, 1 / 3])), 6)  # (1/16 + 9/16) / 2
        0.3125
    """
    return float(np.mean(scipy.special.expit(-np.asarray(gap_P, np.float64)) ** 2)) if len(gap_P) else math.nan


def calibration(gap_P: np.ndarray, temperature: Temperature | None) -> dict[str, Any]:
    """Returns the calibration of one head, at T = 1 and at a temperature that was fitted on other data.

    Returns:
        `pairs`, `calibration_error`, `brier`, `loss` (nats) and `bins` (see `reliability`); under `tempered` the same
        at the temperature with its `temperature`, `temperature_ci95`, `fitted_pairs`, `too_few_pairs` (True if the
        temperature is too uncertain to help) and `bound`, or None without a temperature.

    Example:
        >>> result = calibration(np.log([4.0, 1 / 4]), Temperature(value=2.0, pairs=100, bound=None))
        >>> result["pairs"], round(result["calibration_error"], 6), round(result["tempered"]["calibration_error"], 6)
        (2, 0.3, 0.166667)
    """
    result = {"pairs": len(gap_P), **_measure(gap_P), "tempered": None}
    if temperature is not None:
        fit = {
            "temperature": temperature.value,
            "temperature_ci95": temperature.interval,
            "fitted_pairs": temperature.pairs,
            "too_few_pairs": temperature.too_few,
            "bound": temperature.bound,
        }
        result["tempered"] = {**fit, **_measure(gap_P / temperature.value)}
    return result


def _measure(gap_P: np.ndarray) -> dict[str, Any]:
    return {
        "calibration_error": calibration_error(gap_P),
        "brier": brier_score(gap_P),
        "loss": metrics.bradley_terry_loss(gap_P),
        "bins": reliability(gap_P),
    }
