"""KL divergence of best-of-n from the policy that it samples: the bound, and its value for discrete scores.

Let F be the distribution of scores under the policy. The best of n samples has a score of at most s with probability
F(s)^n, and among samples with one score best-of-n does not change the policy. So the divergence is that of the two
distributions of scores. For scores without ties it is ln n - (n - 1)/n. Ties make it smaller: the formula is an upper
bound (Beirami et al. 2401.01879). Probabilities are those of the sampler, so a policy sampled at a temperature is
compared with the policy at this temperature. Divergences are in nats per response.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from rmjax.errors import InputError
from rmjax.evaluation.best_of_n import ranks


def kl_bound(n: float) -> float:
    """ln n - (n - 1) / n: the KL divergence of best-of-n from the policy without ties, and an upper bound with ties.

    Raises:
        InputError: n is below 1.

    Source: Stiennon et al. (2009.01325); that it is a bound, Beirami et al. (2401.01879, theorem 3.1).

    Example:
        >>> kl_bound(1), round(kl_bound(256), 3)
        (0.0, 4.549)
    """
    if n < 1:
        raise InputError(f"n must be at least 1, found {n}")
    return math.log(n) - (n - 1) / n


def kl_of_distribution(probability_K: np.ndarray, score_K: np.ndarray, n: float) -> float:
    """Returns the exact KL divergence of best-of-n from a policy with K responses.

    With q_l the probability of the l-th lowest score and F_l = q_1 + ... + q_l, it is Σ_l m_l ln(m_l / q_l), where
    m_l = F_l^n - F_{l-1}^n is the probability that the best of n has this score.

    Args:
        probability_K: probabilities of the responses, which sum to 1.
        score_K: their scores.
        n: number of samples, at least 1.

    Raises:
        InputError: n is below 1, or the probabilities are none.

    Example:
        >>> round(kl_of_distribution(np.array([0.5, 0.5]), np.array([0.0, 1.0]), 2), 4)  # 1/4 and 3/4 against 1/2
        0.1308
    """
    kl_bound(n)  # checks n
    probability = np.asarray(probability_K, np.float64)
    if (probability < 0).any() or not math.isclose(probability.sum(), 1, rel_tol=1e-6):
        raise InputError(f"probabilities must be positive and sum to 1, found the sum {probability.sum():.6g}")
    _, level = np.unique(score_K, return_inverse=True)
    upper = np.bincount(level, probability).cumsum()
    return float(scipy.special.rel_entr(*_masses(np.append(0.0, upper[:-1]), upper, n)).sum())


def kl_of_samples(score_PxN: np.ndarray, n: float) -> np.ndarray:
    """Returns the KL divergence of best-of-n from the policy of every prompt, estimated from N samples, `[P] float64`.

    The formula of `kl_of_distribution` with the shares of the samples as probabilities, where a score that several
    samples have is discrete. A score of one sample counts as part of a continuous distribution: with u the quantile,
    it adds the integral of n u^(n-1) ln(n u^(n-1)) over its share. So the estimate is `kl_bound(n)` if no scores are
    tied, and between 0 and this bound always. It is biased if n is not small compared with N, because the probabilities
    of rare responses are then known roughly: more samples of the same prompts show by how much.

    Raises:
        InputError: as `ranks`, or n is below 1.

    Example:
        >>> kl_of_samples(np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]]), 2).round(4).tolist()
        [0.1931, 0.1308]
    """
    bound = kl_bound(n)
    found, samples = ranks(score_PxN), np.shape(score_PxN)[1]
    lower, upper = found.first / samples, (found.last + 1) / samples
    discrete = scipy.special.rel_entr(*_masses(lower, upper, n)) / found.tied

    def integral(u: np.ndarray) -> np.ndarray:
        """Returns the integral of n t^(n-1) ln(n t^(n-1)) from 0 to u."""
        power = u**n
        return power * bound + (n - 1) * scipy.special.xlogy(power, u)

    return np.where(found.tied == 1, integral(upper) - integral(lower), discrete).sum(1)


def kl_of_poisson(mean: float) -> float:
    """Returns the KL divergence of best-of-Poisson from the policy without ties: ∫ f ln f, f(u) = (μu + 1) e^(μ(u-1)).

    Raises:
        InputError: the mean μ is negative.

    Source: Khalaf et al. (2506.19248). See `best_of_n.best_of_poisson`.

    Example:
        >>> round(kl_of_poisson(0.0), 6), round(kl_of_poisson(15.0), 3)
        (0.0, 1.777)
    """
    if mean < 0:
        raise InputError(f"mean must not be negative, found {mean}")

    def integrand(u: float) -> float:
        log_density = math.log1p(mean * u) + mean * (u - 1)
        return math.exp(log_density) * log_density

    return float(scipy.integrate.quad(integrand, 0, 1, points=[max(0.0, 1 - 10 / (mean + 1))])[0])


def _masses(lower: np.ndarray, upper: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities of scores between two quantiles, for the best of n and for one sample."""
    return np.maximum(upper**n - lower**n, 0), upper - lower
