"""Scaling fit: a measure as a linear function of the logarithms of model and data size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from rmjax.errors import InputError
from rmjax.sweeps.statistics import LEVEL


class Coefficient(NamedTuple):
    """Change of the measure for a factor of e in one quantity, with its 95 % interval."""

    value: float
    low: float
    high: float


def fit_logarithms(measured: Sequence[float], quantities: Mapping[str, Sequence[float]]) -> dict[str, Coefficient]:
    """Returns measured = a + Σ_i b_i ln(quantity_i), by least squares.

    The form is that of Bai et al. (2204.05862), section 4.5. The intervals are those of ordinary least squares,
    b ± t(0.975; n - k) · se. They assume that the line is right and that the points vary around it independently and
    with one variance. For a curve that bends they are wrong.

    Args:
        measured: one value for every point.
        quantities: name -> one positive value for every point, for example parameters and comparisons.

    Returns:
        The coefficient of each quantity; `intercept`, which is a; and `residual`: the standard deviation around the
        line, as value, low, high.

    Raises:
        InputError: too few points, one that is not a number, or a quantity that does not vary.

    Example:
        >>> fitted = fit_logarithms([0.5, 0.6, 0.7], {"comparisons": [1.0, math.e, math.e**2]})
        >>> round(fitted["intercept"].value, 6), round(fitted["comparisons"].value, 6)
        (0.5, 0.1)
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
