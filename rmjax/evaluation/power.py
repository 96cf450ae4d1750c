"""Smallest effect that runs paired by seed and prompt can detect, computed before they are run."""

from __future__ import annotations

import math

import numpy as np
import scipy

from rmjax.errors import InputError
from rmjax.evaluation.crossed import half_width

POWER = 0.8
POINTS = 4000  # of the integral over the measured standard deviation; the error of the effect is below 0.1 %


def smallest_effect(*, seeds: int, seed_sd: float, prompts: int, prompt_sd: float, power: float = POWER) -> float:
    """Returns the difference in accuracy whose 95 % interval lies above zero with probability `power`.

    The difference d has the variance V = σ²/S + ρ²/n, and `half_width` depends on the measured standard deviation over
    seeds, σ √(w / (S - 1)) with w from the χ² distribution of S - 1 degrees of freedom. The smallest effect solves

        E_w[Φ((d - half_width(σ √(w / (S - 1)), ρ, S, n)) / √V)] = power

    by quadrature over w. The test is two-sided at 5 %, for one comparison; a correction for several needs a larger
    effect. Without an earlier sweep, √q is an upper bound of ρ if all prompts have equally many pairs, with q the share
    of test pairs that the two runs of a seed order differently: such a pair counts 1 or -1. With c_k pairs of prompt k,
    the bound is √(q max c / mean c). ρ is smaller if the pairs of a prompt differ, or if other prompts differ in every
    seed.

    Args:
        seeds: S, pairs of runs, at least 2.
        seed_sd: σ, standard deviation of the difference over seeds, as a fraction (0.01 is one point).
        prompts: n, prompts of the test set.
        prompt_sd: ρ, standard deviation over prompts of the difference on one prompt, averaged over seeds.
        power: probability of detection.

    Returns:
        The effect as a fraction.

    Raises:
        InputError: a value is out of its range.

    Source: definition of power, Cohen, Statistical Power Analysis (1988), chapter 1; the integral is that of this test.

    Example:
        >>> round(smallest_effect(seeds=3, seed_sd=0.01, prompts=2000, prompt_sd=0.0), 3)  # noncentral t: 5.65 σ / √3
        0.033
        >>> round(smallest_effect(seeds=3, seed_sd=0.0, prompts=2000, prompt_sd=0.1), 4)  # 2.80 · 0.1 / √2000
        0.0063
    """
    if seeds < 2:
        raise InputError(f"the smallest detectable effect needs at least 2 seeds, found {seeds}: raise seeds")
    if not (seed_sd >= 0 and prompts >= 2 and prompt_sd >= 0 and 0.05 < power < 1):
        raise InputError(
            "the smallest detectable effect needs seed_sd >= 0, at least 2 prompts, prompt_sd >= 0 and a power "
            f"between 0.05 and 1, found {seed_sd}, {prompts}, {prompt_sd} and {power}"
        )
    share = (np.arange(POINTS) + 0.5) / POINTS
    measured_sd = seed_sd * np.sqrt(scipy.special.chdtri(seeds - 1, 1 - share) / (seeds - 1))
    reach = half_width(measured_sd, prompt_sd, seeds, prompts)
    error = math.sqrt(seed_sd**2 / seeds + prompt_sd**2 / prompts)
    if error == 0:
        return 0.0

    def missing(effect: float) -> float:
        return power - float(scipy.special.ndtr((effect - reach) / error).mean())

    return float(scipy.optimize.brentq(missing, 0.0, float(reach.max()) + 10 * error))
