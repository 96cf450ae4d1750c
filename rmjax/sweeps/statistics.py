"""Statistics over seeds: mean with Student's interval, p value, and Holm's correction for many tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from rmjax.evaluation.crossed import LEVEL, CrossedInterval


class MeanInterval(NamedTuple):
    """Mean over n seeds, its standard error, and the 95 % interval of Student's t; NaN with fewer than two seeds."""

    mean: float
    error: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Returns the mean of independent values, with the uncertainty from their variance.

    mean ± t(0.975; n - 1) · s / √n, s with n - 1 degrees of freedom. The interval covers differences between seeds
    (initial weights, order of the data). It does not cover the sampling of the test set, which is the same for all; see
    `rmjax.evaluation.crossed` for an interval that does.

    Source: Student (1908), The Probable Error of a Mean.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0])  # s = 1, t(0.975; 2) = 4.303
        >>> round(found.mean, 3), round(found.high, 3)
        (2.0, 4.484)
    """
    count = len(values)
    mean = float(np.mean(values)) if count else math.nan
    if count < 2:
        return MeanInterval(mean, math.nan, math.nan, math.nan, count)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return MeanInterval(mean, error, mean - reach, mean + reach, count)


def p_value(values: MeanInterval | CrossedInterval) -> float:
    """Returns the two-sided p of the test that the mean is zero, Student's for a MeanInterval; NaN without interval.

    2 · P(t(n - 1) > |mean| / error): below 0.05 if the 95 % interval of `mean_interval` excludes zero. Values that are
    all equal say nothing about their variance. They get the p of the exact sign test, 2 / 2^n, and 1 if they are zero.

    Example:
        >>> p_value(mean_interval([-1.0, 1.0])), p_value(mean_interval([1.0, 1.0, 1.0]))
        (1.0, 0.25)
    """
    if isinstance(values, CrossedInterval):
        return values.p
    if math.isnan(values.error):
        return math.nan
    if all_equal(values):
        return 1.0 if values.mean == 0 else 2.0 ** (1 - values.n)
    return 2 * float(scipy.stats.t.sf(abs(values.mean) / values.error, values.n - 1))


def all_equal(values: MeanInterval | CrossedInterval) -> bool:
    """Returns True if the values of a mean were equal up to rounding, so that its interval is a point.

    Example:
        >>> all_equal(mean_interval([0.1, 0.1, 0.1])), all_equal(mean_interval([0.1, 0.2]))
        (True, False)
    """
    return values.error <= 1e-12 * abs(values.mean)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p values corrected for their number, in their order; NaN is no test and stays NaN.

    With p_(1) <= ... <= p_(m): max over j <= i of min(1, (m - j + 1) · p_(j)). If all hypotheses with a corrected p of
    at most α are rejected, a true one is among them with a probability of at most α, for any number of true hypotheses
    and any dependence between the tests.

    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.

    Example:
        >>> holm([0.25, 0.0625])  # 1 · 0.25 and 2 · 0.0625
        [0.25, 0.125]
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = list(map(float, p_values)), 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[index] = largest
    return corrected
