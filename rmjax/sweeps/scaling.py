"""How a measure grows with model and data: a line in the logarithms, fitted to many runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from rmjax.errors import InputError
from rmjax.sweeps.statistics import LEVEL


class Coefficient(NamedTuple):
    """What a factor of e in one quantity adds, with its 95 % interval."""

    value: float
    low: float
    high: float


def fit_logarithms(measured: Sequence[float], quantities: Mapping[str, Sequence[float]]) -> dict[str, Coefficient]:
    """measured = a + Σ_i b_i ln(quantity_i), by least squares: the form of Bai et al. (2204.05862), section 4.5.

    The intervals are those of ordinary least squares: b ± t(0.975; n - k) · se. They take the line to be right and the
    points to scatter around it independently and alike; a curve that bends needs another look than at these.

    Args:
        measured: one value for every point.
        quantities: name -> one positive value for every point, as parameters and comparisons.

    Returns:
        The coefficient of each quantity; `intercept`, which is a; and `residual`: the standard deviation around the
        line, as value, low, high.

    Raises:
        InputError: too few points, one that is not a number, or a quantity that does not vary.
    """
    columns = [np.log(np.asarray(values, np.float64)) for values in quantities.values()]
    design = np.stack([np.ones(len(measured)), *columns], axis=1)
    free = len(measured) - design.shape[1]
    if not (np.isfinite(design).all() and np.isfinite(measured).all()):
        raise InputError("a line in logarithms needs positive quantities and a measure at every point")
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise InputError(
            f"{len(measured)} points do not fix a line in {', '.join(quantities)}: vary each of them, in more settings"
        )
    y = np.asarray(measured, np.float64)
    solution, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = float(np.sum((y - design @ solution) ** 2)) / free
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, free)) * errors
    fitted = {
        name: Coefficient(float(b), float(b - r), float(b + r))
        for name, b, r in zip(["intercept", *quantities], solution, reach, strict=True)
    }
    return {**fitted, "residual": Coefficient(*[math.sqrt(variance)] * 3)}
