"""Scaling fits: a measure as a function of model and data size, a line in their logarithms or a sum of power laws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from rmjax.errors import InputError
from rmjax.sweeps.statistics import LEVEL

EXPONENTS = (0.01, 3.0)  # searched range of the exponents of a power law
RESAMPLES = 1000  # bootstrap samples of the points


class Coefficient(NamedTuple):
    """A coefficient of a fit, with its 95 % interval."""

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


def fit_power_law(
    measured: Sequence[float], quantities: Mapping[str, Sequence[float]], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Coefficient]:
    """Returns measured = E + Σ_i A_i / quantity_i^a_i with E, A_i >= 0, by least squares.

    For given exponents the coefficients are a linear problem with bounds, which is solved exactly, so that the search
    is over the exponents alone. The intervals are percentiles over bootstrap samples of the points, which cover both
    noise and misfit of the curve.

    Args:
        measured: one value for every point, for example the loss.
        quantities: name -> one positive value for every point, for example parameters and comparisons.
        resamples: number of bootstrap samples; those in which a quantity has fewer than three values are left out.
        seed: of the bootstrap.

    Returns:
        The exponent a_i of each quantity; `floor`, which is E; `scale of NAME`, which is A_i; and `residual`: the
        standard deviation around the curve, as value, low, high. An exponent at an end of `EXPONENTS` means that the
        points do not fix it.

    Raises:
        InputError: too few points, one that is not a number, or a quantity with fewer than three values.

    Source: Hoffmann et al. (2203.15556), section 3.3, for the form; their fit is in logarithms with a Huber loss. The
    bootstrap is that of Besiroglu et al. (2404.10102).

    Example:
        >>> size = [10.0, 100.0, 1000.0, 10000.0]
        >>> fitted = fit_power_law([0.3 + 2 / n**0.5 for n in size], {"comparisons": size}, resamples=0)
        >>> round(fitted["floor"].value, 4), round(fitted["comparisons"].value, 4)
        (0.3, 0.5)
    """
    y_P = np.asarray(measured, np.float64)
    sizes_PxQ = np.stack([np.asarray(values, np.float64) for values in quantities.values()], axis=1)
    if not ((sizes_PxQ > 0) & np.isfinite(sizes_PxQ)).all() or not np.isfinite(y_P).all():
        raise InputError("a power law needs positive quantities and a measure at every point")
    logs_PxQ = np.log(sizes_PxQ)
    free = len(y_P) - 1 - 2 * logs_PxQ.shape[1]
    if free < 1 or not _varies(logs_PxQ):
        raise InputError(
            f"{len(y_P)} points do not fix a power law in {', '.join(quantities)}: each of them needs at least three "
            "values, in more settings"
        )
    grid = itertools.product((0.1, 0.4, 1.0), repeat=logs_PxQ.shape[1])
    exponents, coefficients, norm = min(
        (_search(y_P, logs_PxQ, np.array(start)) for start in grid), key=lambda found: found[2]
    )
    generator, sampled = np.random.default_rng(seed), []
    for _ in range(resamples):
        chosen = generator.integers(len(y_P), size=len(y_P))
        if _varies(logs_PxQ[chosen]):
            found = _search(y_P[chosen], logs_PxQ[chosen], exponents)
            sampled.append(np.concatenate([found[0], found[1]]))
    values = np.concatenate([exponents, coefficients])
    tail = 100 * (1 - LEVEL) / 2
    ends = np.percentile(sampled, [tail, 100 - tail], axis=0) if sampled else np.full((2, len(values)), math.nan)
    names = [*quantities, "floor", *(f"scale of {name}" for name in quantities)]
    fitted = {name: Coefficient(*map(float, each)) for name, *each in zip(names, values, *ends, strict=True)}
    return {**fitted, "residual": Coefficient(*[norm / math.sqrt(free)] * 3)}


def _varies(logs_PxQ: np.ndarray) -> bool:
    return all(len(np.unique(column)) >= 3 for column in logs_PxQ.T)


def _search(y_P: np.ndarray, logs_PxQ: np.ndarray, start_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns exponents [Q], coefficients [1 + Q] (E, then A_i), and the norm of the residuals."""
    middle_Q = logs_PxQ.mean(axis=0)  # the terms are of order 1, whatever the unit of a quantity

    def solve(exponents_Q: np.ndarray) -> tuple[np.ndarray, float]:
        terms = np.exp(-exponents_Q * (logs_PxQ - middle_Q))
        return scipy.optimize.nnls(np.concatenate([np.ones((len(y_P), 1)), terms], axis=1), y_P)

    found = scipy.optimize.minimize(
        lambda exponents_Q: solve(exponents_Q)[1],
        start_Q,
        method="Nelder-Mead",
        bounds=[EXPONENTS] * len(start_Q),
        options={"xatol": 1e-4, "fatol": 1e-12},
    )
    coefficients, norm = solve(found.x)
    coefficients[1:] *= np.exp(found.x * middle_Q)
    return found.x, coefficients, float(norm)
