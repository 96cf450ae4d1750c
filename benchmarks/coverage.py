"""Simulated coverage of intervals of a difference in accuracy between two settings with the same few seeds.

    python benchmarks/coverage.py

A pair of runs has a true difference that varies between seeds with a standard deviation of `seed sd`. On 10 % of the
test prompts the two runs of a seed differ. `shared` is the part of these prompts that is decided the same way in every
seed. Prints, for every case, the share of intervals that contain the true difference, and their mean width in points:
of `crossed_interval`; of Student's interval over seeds; of the percentile bootstrap over seeds; and of that over seeds
and prompts together (the pigeonhole bootstrap).
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from harness import markdown, write_results

from rmjax.evaluation.crossed import crossed_interval
from rmjax.sweeps.statistics import mean_interval

EFFECT, DISCORDANT, RESAMPLES = 0.01, 0.10, 400


def draw(rng: np.random.Generator, seeds: int, prompts: int, seed_sd: float, shared: float) -> tuple[np.ndarray, float]:
    """Returns outcomes `[seeds, prompts]` of -1, 0 or 1, and their true mean over all seeds and prompts."""
    effect_S = EFFECT + seed_sd * rng.normal(size=seeds)
    own = DISCORDANT * (1 - shared)
    drawn = rng.random((seeds, prompts))
    outcome = (drawn < (own + effect_S[:, None]) / 2).astype(float) - (drawn > 1 - (own - effect_S[:, None]) / 2)
    fixed = rng.random(prompts)
    same = (fixed < DISCORDANT * shared / 2).astype(float) - (fixed > 1 - DISCORDANT * shared / 2)
    return np.where(same != 0, same, outcome), EFFECT * (1 - DISCORDANT * shared)


def intervals(rng: np.random.Generator, outcome_SxK: np.ndarray) -> dict[str, tuple[float, float]]:
    """Returns the interval of each method."""
    seeds, prompts = outcome_SxK.shape
    drawn_S = rng.multinomial(seeds, [1 / seeds] * seeds, RESAMPLES) / seeds
    # Few columns are distinct, so drawing how often each occurs is the same and fast.
    distinct_SxK, count_K = np.unique(outcome_SxK, axis=1, return_counts=True)
    drawn_K = rng.multinomial(prompts, count_K / prompts, RESAMPLES) / prompts
    both = np.einsum("rk,rk->r", drawn_S @ distinct_SxK, drawn_K)
    crossed, student = crossed_interval(outcome_SxK, np.ones(prompts, int)), mean_interval(outcome_SxK.mean(axis=1))
    low, high = np.quantile([drawn_S @ outcome_SxK.mean(axis=1), both], [0.025, 0.975], axis=1)
    return {
        "crossed": (crossed.low, crossed.high),
        "Student, seeds": (student.low, student.high),
        "bootstrap, seeds": (low[0], high[0]),
        "bootstrap, both": (low[1], high[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("coverage.json"))
    arguments = parser.parse_args()
    rng, rows = np.random.default_rng(0), []
    for prompts, seed_sd, shared in itertools.product((500, 1000, 2000), (0.002, 0.005, 0.01), (0.2, 0.8)):
        covered: dict[str, list[tuple[bool, float]]] = {}
        for _ in range(arguments.repeats):
            outcome, truth = draw(rng, arguments.seeds, prompts, seed_sd, shared)
            for name, (low, high) in intervals(rng, outcome).items():
                covered.setdefault(name, []).append((low <= truth <= high, 100 * (high - low)))
        cells = {name: np.mean(found, axis=0) for name, found in covered.items()}
        case = {"prompts": prompts, "seed sd, points": 100 * seed_sd, "shared": shared}
        rows.append(case | {name: f"{100 * share:.1f} % ({width:.1f})" for name, (share, width) in cells.items()})
        print(markdown(rows[-1:]).splitlines()[-1], flush=True)
        write_results(arguments.output, rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
