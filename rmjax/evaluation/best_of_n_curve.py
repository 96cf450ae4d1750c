"""Best-of-n over n: KL divergence, score, gold reward and win rate with intervals, and the n with the most gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from rmjax.errors import InputError
from rmjax.evaluation.best_of_n import by_rank, rank_weights, win_rate
from rmjax.evaluation.best_of_n_kl import kl_bound, kl_of_samples
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.text_table import interval_text, number, percent

GRID = 256  # values of n among which a root of the residual is looked for


def curve(
    score_PxN: np.ndarray, gold: Mapping[str, np.ndarray], ns: Sequence[int], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Returns a row for every n: means over prompts, each with `..._ci95`, its interval over prompts.

    `kl` (`kl_of_samples`) and `kl_bound` in nats; `score` and for every gold reward `gold_NAME`, with `..._gain`, the
    difference from n = 1 on the same prompts; `win_rate` against one sample of the policy by score, None if n = N; and
    `win_rate_bound`, n / (n + 1).

    Args:
        score_PxN: scores of the N samples of P prompts.
        gold: by name, the gold rewards of the same samples.
        ns: numbers of samples, each in 1, ..., N.
        bootstrap: settings of the intervals.

    Raises:
        InputError: a number n is out of range, a score is not finite, or a shape differs.
    """
    score_PxN = np.asarray(score_PxN)
    prompts, samples = score_PxN.shape
    measured = {"score": score_PxN, **{f"gold_{name}": value for name, value in gold.items()}}
    ascending = {name: by_rank(score_PxN, value) for name, value in measured.items()}
    every = np.arange(prompts)
    rows = []
    for n in ns:
        weight = rank_weights(samples, n)
        values = {"kl": kl_of_samples(score_PxN, n)}
        for name, value_PxN in ascending.items():
            best = value_PxN @ weight
            values |= {name: best, f"{name}_gain": best - value_PxN @ rank_weights(samples, 1)}
        if n < samples:
            values["win_rate"] = win_rate(score_PxN, n)
        row: dict[str, Any] = {"n": n, "kl_bound": kl_bound(n), "win_rate_bound": n / (n + 1), "win_rate": None}
        for name, value_P in values.items():
            row |= {name: float(value_P.mean()), f"{name}_ci95": bootstrap.interval(value_P, every)}
        rows.append(row)
    return rows


class BestN(NamedTuple):
    """The n with the highest gold reward.

    Attributes:
        n: a real number in [1, max_n].
        gold: the mean gold reward at n, over prompts.
        peaked: it is below max_n, so that more samples make the gold reward worse.
        interval: of n, over prompts.
    """

    n: float
    gold: float
    peaked: bool
    interval: tuple[float, float]


def hedge_tune(score_PxN: np.ndarray, gold_PxN: np.ndarray, *, max_n: int, bootstrap: Bootstrap) -> BestN:
    """Returns the n at which best-of-n has its highest gold reward, as a root of the residual of HedgeTune.

    With u the quantile of a sample's score in the policy and r(u) its gold reward, the best of n has the density
    p_n(u) = n u^(n-1), for real n. The gold reward R(n) = ∫ r(u) p_n(u) du has the derivative

        ∫ r(u) p_n(u) ψ(u, n) du,   ψ(u, n) = d ln p_n(u) / dn = 1/n + ln u

    which HedgeTune calls the residual. Here r is a step function, the gold reward of sample i of N on ((i-1)/N, i/N],
    so both integrals are sums with ((i/N)^n - ((i-1)/N)^n) and its derivative. That is the best of n draws with
    replacement from the N samples; it is close to the estimate without bias if N is well above max_n.

    Roots where R begins to fall are compared with 1 and max_n, since a measured R can have several. The interval is
    that of the best of `GRID` values of n, over prompts drawn with replacement.

    Args:
        score_PxN: scores of the N samples of P prompts.
        gold_PxN: gold rewards of the same samples.
        max_n: the largest n, in 1, ..., N.
        bootstrap: settings of the interval.

    Raises:
        InputError: max_n is out of range, or as `by_rank`.

    Source: Khalaf et al. (2506.19248), algorithm HedgeTune for best-of-n.

    Example:
        >>> score, gold = np.arange(1, 1001)[None] / 1000, (np.arange(1, 1001)[None] / 1000)
        >>> best = hedge_tune(score, gold - gold**9, max_n=100, bootstrap=Bootstrap(resamples=0, seed=0))
        >>> round(best.n, 1), best.peaked  # the maximum of n / (n + 1) - n / (n + 9)
        (3.0, True)
    """
    samples = np.shape(score_PxN)[1]
    if not 1 <= max_n <= samples:
        raise InputError(f"max_n must be between 1 and the {samples} samples of a prompt, found {max_n}")
    ascending = by_rank(score_PxN, gold_PxN)
    mean_N = ascending.mean(0)
    edge = np.arange(samples + 1) / samples

    def reward(n: float) -> float:
        return float(mean_N @ np.diff(edge**n))

    def residual(n: float) -> float:
        return float(mean_N @ np.diff(scipy.special.xlogy(edge**n, edge)))

    grid = np.geomspace(1, max_n, GRID) if max_n > 1 else np.ones(1)
    slope = np.array([residual(n) for n in grid])
    peaks = [
        scipy.optimize.brentq(residual, grid[k], grid[k + 1])
        for k in np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))
    ]
    best = max([1.0, *peaks, float(max_n)], key=reward)
    return BestN(best, reward(best), best < max_n, _interval(ascending, edge, grid, bootstrap))


def _interval(
    ascending_PxN: np.ndarray, edge: np.ndarray, grid: np.ndarray, bootstrap: Bootstrap
) -> tuple[float, float]:
    prompts = len(ascending_PxN)
    if prompts < 2 or bootstrap.resamples < 1:
        return float("nan"), float("nan")
    reward_PxG = np.stack([ascending_PxN @ np.diff(edge**n) for n in grid], axis=1)
    drawn = np.random.default_rng(bootstrap.seed).multinomial(
        prompts, np.full(prompts, 1 / prompts), size=bootstrap.resamples
    )
    low, high = np.quantile(grid[(drawn @ reward_PxG).argmax(1)], [0.025, 0.975])
    return float(low), float(high)


def curve_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Returns the cells of a table of `curve`, its header first.

    Example:
        >>> rows = curve(np.array([[1.0, 2.0, 3.0]]), {}, [2], Bootstrap(resamples=0, seed=0))
        >>> for row in curve_rows(rows): print(row)
        ('n', 'KL bound', 'KL', 'score', 'win rate')
        ('2', '0.193', '0.193', '2.667', '66.7 %')
    """
    names = [name for name in rows[0] if name == "score" or (name.startswith("gold_") and f"{name}_gain" in rows[0])]
    gains = [f"{name}_gain" for name in names if name != "score"]
    header = ("n", "KL bound", "KL", *(name.replace("_", " ") for name in (*names, *gains)), "win rate")

    def cell(row: Mapping[str, Any], name: str) -> str:
        return number(row[name]) + interval_text(row[f"{name}_ci95"], " ({})", form=".2f", scale=1)

    def won(row: Mapping[str, Any]) -> str:
        return percent(row["win_rate"]) + interval_text(row.get("win_rate_ci95"), " ({})")

    return [
        header,
        *(
            (str(row["n"]), number(row["kl_bound"]), *(cell(row, name) for name in ("kl", *names, *gains)), won(row))
            for row in rows
        ),
    ]
