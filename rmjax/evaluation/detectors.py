"""Detectors of over-optimisation that need no gold reward, and how well they agree with it.

A signal is a number for each evaluation of a policy, computed from its responses to the same prompts. All signals here
are higher if the policy is further from its start. Shapes: E evaluations of a run, P prompts, D features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.evaluation.unsafe import auc

WORD = re.compile(r"\w+|[^\w\s]")
SHRINKAGE = 0.1  # of the covariance of features towards a multiple of the identity


def repetition(texts: Sequence[str], n: int = 3) -> float:
    """Returns the mean share of n-grams of a text that occurred before in it; 0 for shorter texts.

    Example:
        >>> repetition(["a b a b a b"], n=2)  # ab ba ab ba ab: three of five
        0.6
    """
    shares = []
    for text in texts:
        words = WORD.findall(text.lower())
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        shares.append(1 - len(set(grams)) / len(grams) if grams else 0.0)
    return float(np.mean(shares))


def sameness(texts: Sequence[str]) -> float:
    """Returns 1 - the number of different texts / the number of texts: policies that collapse answer all prompts alike.

    Example:
        >>> sameness(["yes", "yes", "no", "maybe"])
        0.25
    """
    return 1 - len(set(texts)) / len(texts)


def outliers(start_PxD: np.ndarray, features_PxD: np.ndarray, level: float = 0.95) -> float:
    """Returns the share of responses whose features are further from those of the start than `level` of these are.

    The distance is that of Mahalanobis. Mean and covariance are those of every second response of the start, and the
    limit is a quantile of the others: responses that a covariance was estimated from are closer to it than new ones.
    The covariance is shrunk by `SHRINKAGE`. The features are those of the reward model. Compare 2510.13694, which uses
    the latent of an information bottleneck.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> start, same = rng.normal(size=(2, 1000, 2))
        >>> round(outliers(start, same), 2), outliers(start, start + 100)
        (0.04, 1.0)
    """
    start, others = np.asarray(start_PxD, np.float64)[::2], np.asarray(start_PxD, np.float64)[1::2]
    mean = start.mean(0)
    covariance = np.atleast_2d(np.cov(start, rowvar=False))
    width = len(covariance)
    ball = np.eye(width) * np.trace(covariance) / width
    inverse = np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * ball + 1e-12 * np.eye(width))

    def distance(x: np.ndarray) -> np.ndarray:
        away = np.asarray(x, np.float64) - mean
        return np.einsum("pd,de,pe->p", away, inverse, away)

    return float((distance(features_PxD) > np.quantile(distance(others), level)).mean())


def disagreement(start_JxP: np.ndarray, scores_JxPxE: np.ndarray) -> list[float]:
    """Returns the mean over responses of the standard deviation of J judges' scores, for each of E evaluations.

    The scores of a judge are in standard deviations of its scores of the start, above their mean. Judges that agree on
    familiar responses disagree on others (Coste et al. 2310.02743).

    Example:
        >>> start = np.array([[0.0, 2.0], [1.0, 5.0]])
        >>> disagreement(start, np.stack([start, start + [[1.0], [4.0]]], axis=2))
        [0.0, 0.5]
    """
    mean_Jx1x1, sd_Jx1x1 = (statistic(start_JxP, axis=1)[:, None, None] for statistic in (np.mean, np.std))
    return ((scores_JxPxE - mean_Jx1x1) / sd_Jx1x1).std(0).mean(0).tolist()


class Watched(NamedTuple):
    """One run: a signal at every evaluation, and whether the policy was over-optimised there, by the gold reward.

    Attributes:
        signal_E: the signal.
        exploited_E: whether the policy was over-optimised.
        fold: a threshold that is applied to this run is chosen on the runs of other folds.
    """

    signal_E: np.ndarray
    exploited_E: np.ndarray
    fold: int


class Detector(NamedTuple):
    """How well a signal tells evaluations with and without over-optimisation apart.

    Attributes:
        auc: area under the ROC curve, over the evaluations of all runs.
        interval: its 95 % interval, over runs drawn with replacement.
        threshold: the lowest threshold with alarms in at most `FALSE_ALARMS` of the evaluations that are not
            over-optimised, of all runs.
        found: share of the over-optimised runs with an alarm at an over-optimised evaluation, at the threshold of the
            other folds; NaN if there are none.
        false: share of the runs that are never over-optimised with an alarm at any evaluation, at the threshold of the
            other folds; NaN if there are none.
    """

    auc: float
    interval: tuple[float, float]
    threshold: float
    found: float
    false: float


FALSE_ALARMS = 0.05
RESAMPLES = 1000


def judge(runs: Sequence[Watched], *, seed: int = 0) -> Detector:
    """Returns how well a signal detects over-optimisation in runs whose gold reward is known.

    Raises:
        InputError: all runs are of one fold.

    Example:
        >>> good = Watched(np.array([0.0, 0.1]), np.array([False, False]), fold=0)
        >>> bad = Watched(np.array([0.1, 0.9]), np.array([False, True]), fold=1)
        >>> found = judge([good, bad])
        >>> found.auc, found.threshold, found.found, found.false
        (1.0, 0.1, 1.0, 0.0)
    """
    others = {fold: [run for run in runs if run.fold != fold] for fold in {run.fold for run in runs}}
    if not all(others.values()):
        raise InputError("a threshold for one fold is chosen on others: give runs of at least two folds")
    thresholds = {fold: _threshold(of_others) for fold, of_others in others.items()}
    alarms = [(run, run.signal_E > thresholds[run.fold]) for run in runs]
    found = [alarm_E[run.exploited_E].any() for run, alarm_E in alarms if run.exploited_E.any()]
    false = [alarm_E.any() for run, alarm_E in alarms if not run.exploited_E.any()]
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        chosen = [runs[i] for i in rng.integers(len(runs), size=len(runs))]
        drawn.append(_auc(chosen))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Detector(
        auc=_auc(runs),
        interval=(float(low), float(high)),
        threshold=_threshold(runs),
        found=float(np.mean(found)) if found else float("nan"),
        false=float(np.mean(false)) if false else float("nan"),
    )


def _threshold(runs: Sequence[Watched]) -> float:
    signal = np.concatenate([run.signal_E[~run.exploited_E] for run in runs])
    return float(np.quantile(signal, 1 - FALSE_ALARMS, method="inverted_cdf")) if len(signal) else float("inf")


def _auc(runs: Sequence[Watched]) -> float:
    # `auc` is the chance that the second kind is lower.
    signal = np.concatenate([run.signal_E for run in runs])
    return auc(-signal, np.concatenate([run.exploited_E for run in runs]))
