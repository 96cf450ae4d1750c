"""Over-optimisation: fits of score and gold reward over KL divergence, the peak of the gold reward, and its decline.

A policy is optimised against a proxy, the score of a reward model. Its gold reward rises at first. If it then falls
while the proxy still rises, the policy is over-optimised (Gao et al. 2210.10760). d is the square root of the KL
divergence from the start, in nats per response.

Shapes: E evaluations of a policy (or values of n in best-of-n), P prompts.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.evaluation.bootstrap import Bootstrap

Form = Literal["best-of-n", "RL"]
POINTS = 512  # of the trapezoidal rule


class Fit(NamedTuple):
    """A fit of Gao et al.'s form: R(d) = d (α - β d) for best-of-n, d (α - β ln d) for RL.

    Attributes:
        form: which of the two.
        alpha: α, the slope at the start (of the RL form, at d = 1).
        beta: β, the rate of decline.
        r2: share of the variance of the points that the fit explains; negative if it is worse than their mean.
    """

    form: Form
    alpha: float
    beta: float
    r2: float

    def at(self, d: np.ndarray) -> np.ndarray:
        """Returns R(d); 0 at d = 0."""
        d = np.asarray(d, np.float64)
        slow = np.log(np.where(d > 0, d, 1.0)) if self.form == "RL" else d
        return d * (self.alpha - self.beta * slow)

    @property
    def peak(self) -> float:
        """d of the maximum: α / 2β for best-of-n, exp(α / β - 1) for RL; infinite if β is not above 0."""
        if self.beta <= 0:
            return math.inf
        return self.alpha / (2 * self.beta) if self.form == "best-of-n" else math.exp(self.alpha / self.beta - 1)


def fit_form(d_E: np.ndarray, gain_E: np.ndarray, form: Form) -> Fit:
    """Returns the fit of a form by least squares.

    Args:
        d_E: square roots of KL divergences; values of 0 give no information.
        gain_E: difference of a reward from that of the start.
        form: `best-of-n` or `RL`.

    Raises:
        InputError: fewer than three points have d > 0.

    Example:
        >>> d = np.array([0.0, 0.5, 1.0, 2.0])
        >>> fit = fit_form(d, 3 * d - 0.5 * d**2, "best-of-n")
        >>> round(fit.alpha, 6), round(fit.beta, 6), round(fit.r2, 6), round(fit.peak, 6)
        (3.0, 0.5, 1.0, 3.0)
    """
    d, gain = np.asarray(d_E, np.float64), np.asarray(gain_E, np.float64)
    d, gain = d[d > 0], gain[d > 0]
    if len(d) < 3:
        raise InputError(f"a fit over KL divergence needs three points away from the start, found {len(d)}")
    slow = np.log(d) if form == "RL" else d
    columns = np.stack([d, -d * slow], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(columns, gain, rcond=None)
    rest = ((gain - columns @ [alpha, beta]) ** 2).sum()
    spread = ((gain - gain.mean()) ** 2).sum()
    return Fit(form, float(alpha), float(beta), float(1 - rest / spread) if spread else math.nan)


def degree(gold: Fit, proxy: Fit, largest: float) -> float:
    """γ, the degree of over-optimisation: ∫ |gold - proxy| / ∫ gold over d from 0 to `largest`.

    Both fits are of gains in units of the standard deviation over the start's responses. 0 means that the proxy is the
    gold reward. NaN if the area under the gold reward is not positive.

    Source: Kim et al. (2505.12763), with d in place of the KL divergence, as Gao et al. have it.

    Example:
        >>> line = Fit("best-of-n", 1.0, 0.0, 1.0)
        >>> round(degree(line, Fit("best-of-n", 2.0, 0.0, 1.0), 3.0), 6)
        1.0
    """
    d = np.linspace(0.0, largest, POINTS)
    area = float(np.trapezoid(gold.at(d), d))
    return float(np.trapezoid(np.abs(gold.at(d) - proxy.at(d)), d)) / area if area > 0 else math.nan


class Peak(NamedTuple):
    """The peak of the gold reward, and its decline until the last evaluation.

    Attributes:
        d: mean of the two halves' distances at their peaks.
        gold: gold reward at the peak, of the half of the prompts that did not choose it.
        decline: gold reward of the last evaluation minus that at the peak, prompt by prompt.
        interval: 95 % interval of the decline over prompts.
        proxy_rise: proxy of the last evaluation minus that at the peak.
        exploited_E: for each evaluation after the peak, True if there, and at every later evaluation, the gold reward
            is below that at the peak by its interval, while the proxy is above. If the gold reward stays and the proxy
            rises, this happens in about 4 % of the runs (simulated, 128 prompts, 3 to 21 evaluations).
    """

    d: float
    gold: float
    decline: float
    interval: tuple[float, float]
    proxy_rise: float
    exploited_E: tuple[bool, ...]

    @property
    def overoptimised(self) -> bool:
        """True if the last evaluation is exploited: the gold reward fell while the proxy rose."""
        return self.exploited_E[-1]


def find_peak(d_E: np.ndarray, proxy_ExP: np.ndarray, gold_ExP: np.ndarray, bootstrap: Bootstrap) -> Peak:
    """Returns the peak by cross-fitting: each half of the prompts chooses the evaluation for the other half.

    The largest of many noisy means is above the largest true mean, and a decline from it is too large. The value at an
    evaluation that other prompts chose has no such bias.

    Raises:
        InputError: there are fewer than four prompts.

    Example:
        >>> d, gold = np.array([0.0, 1.0, 2.0]), np.array([[0.0] * 4, [2.0] * 4, [1.0] * 4])
        >>> peak = find_peak(d, 3 * gold, gold, Bootstrap(resamples=0, seed=0))
        >>> peak.d, peak.gold, peak.decline
        (1.0, 2.0, -1.0)
    """
    gold, proxy = np.asarray(gold_ExP, np.float64), np.asarray(proxy_ExP, np.float64)
    prompts = gold.shape[1]
    if prompts < 4:
        raise InputError(f"the peak of the gold reward needs at least four prompts, found {prompts}")
    half = np.arange(prompts) % 2
    chosen = np.array([gold[:, half == h].mean(1).argmax() for h in (1, 0)])  # for the prompts of half 0 and 1
    every = np.arange(prompts)
    at_peak = chosen[half], every
    change_ExP, rise_E = gold - gold[at_peak], (proxy - proxy[at_peak]).mean(1)
    intervals = [bootstrap.interval(change_P, every) for change_P in change_ExP]
    after_E = np.arange(len(gold)) > chosen.max()
    fell_E = [
        bool(after and high < 0 < rise) for after, (_, high), rise in zip(after_E, intervals, rise_E, strict=True)
    ]
    return Peak(
        d=float(np.asarray(d_E)[chosen].mean()),
        gold=float(gold[at_peak].mean()),
        decline=float(change_ExP[-1].mean()),
        interval=intervals[-1],
        proxy_rise=float(rise_E[-1]),
        exploited_E=tuple(np.logical_and.accumulate(fell_E[::-1])[::-1].tolist()),
    )


def hill_index(error_N: np.ndarray, share: float = 0.05) -> float:
    """Returns the Hill estimate of the tail index of errors: k / Σ_i ln(x_(i) / x_(k+1)) over the k largest x.

    x is the error above its median. Tails that fall like x^-a have the index a; the tail of a normal distribution has
    no index, and its estimate grows with the number of errors. KL regularization does not limit over-optimisation if
    the tail is heavy (Kwa et al. 2407.14503).

    Args:
        error_N: errors of the proxy, such as its standardised score minus the standardised gold reward.
        share: share of the errors that are the tail.

    Raises:
        InputError: the tail has fewer than ten errors, or the errors at its edge are not above the median.

    Source: Hill (1975).

    Example:
        >>> x = (1 - (np.arange(100_000) + 0.5) / 100_000) ** (-1 / 3)  # quantiles of a Pareto law with index 3
        >>> round(hill_index(np.concatenate([x, -x])), 1)
        3.0
    """
    x = np.sort(np.asarray(error_N, np.float64))
    x = x - np.median(x)
    tail = int(share * len(x))
    if tail < 10 or x[-tail - 1] <= 0:
        raise InputError(f"a tail index needs ten errors above their median, found a tail of {tail}")
    return float(tail / np.log(x[-tail:] / x[-tail - 1]).sum())
