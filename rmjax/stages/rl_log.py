"""Log of an RL run: names of the metrics, lines on the console, the verdict on learning, and the rules that end it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmjax.evaluation.text_table import interval_text, mean_text, percent
from rmjax.stages.rl_settings import StopSettings

# Names of the metrics of an iteration in metrics.jsonl, as in the trainers of OpenAI and TRL.
NAMES = {
    "reward": "objective/scores",
    "kl": "objective/kl",
    "kl_error": "objective/kl_error",
    "kl_k3": "objective/kl_k3",
    "kl_coef": "objective/kl_coef",
    "entropy": "policy/entropy_avg",
    "approxkl": "policy/approxkl_avg",
    "pg_clipfrac": "policy/clipfrac_avg",
    "grad_norm": "policy/grad_norm_avg",
    "loss": "loss/total_avg",
    "pg_loss": "loss/policy_avg",
    "vf_loss": "loss/value_avg",
    "ratio": "val/ratio",
    "explained_variance": "val/explained_variance",
    "length": "val/response_length",
    "cut": "val/cut",
    "dead_groups": "val/dead_groups",
    "sampler_gap": "val/sampler_gap",
    "seconds_sampling": "seconds/sampling",
    "seconds_scoring": "seconds/scoring",
    "seconds_update": "seconds/update",
}
PARTS = ("raw", "normalized", "weighted", "loss", "accuracy")
WINDOW = 50  # iterations that the verdict on learning reads
FEWEST = 8  # below this number there is no verdict


def metrics_row(metrics: Mapping[str, float], terms: Sequence[str]) -> dict[str, float]:
    """Returns the metrics of an iteration by their names in metrics.jsonl.

    Those of a reward term are `reward/TERM/raw`, `.../normalized`, `.../weighted`, and `advantage/TERM` for its share
    of the variance of the advantages.

    Example:
        >>> metrics_row({"kl": 1.0, "model_raw": 2.0, "share_model": 1.0}, ["model"])
        {'objective/kl': 1.0, 'reward/model/raw': 2.0, 'advantage/model': 1.0}
    """
    names = {f"{term}_{part}": f"reward/{term}/{part}" for term in terms for part in PARTS} | NAMES
    row = {}
    for name, value in metrics.items():
        share = f"advantage/{name.removeprefix('share_')}" if name.startswith("share_") else f"policy/{name}"
        row[names.get(name, share)] = float(value)
    return row


class Trend(NamedTuple):
    """The change of a series over its window, by linear regression, and the standard error of the change."""

    change: float
    error: float

    @property
    def word(self) -> str:
        """`rising`, `falling` or `no clear change`: by two standard errors."""
        if abs(self.change) <= 2 * self.error:
            return "no clear change"
        return "rising" if self.change > 0 else "falling"


def trend(values: Sequence[float]) -> Trend | None:
    """Returns the trend of the last `WINDOW` values, or None if there are too few.

    Example:
        >>> trend([0.0, 1.0] * 4).word, trend(range(8)).change, trend([1.0])
        ('no clear change', 7.0, None)
    """
    y = np.asarray(values[-WINDOW:], np.float64)
    n = len(y)
    if n < FEWEST:
        return None
    x = np.arange(n) - (n - 1) / 2
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / (n - 2) / float(x @ x))
    return Trend(slope * (n - 1), error * (n - 1))


def verdict(rows: Sequence[Mapping[str, float]], gold: Sequence[str]) -> str:
    """Returns one sentence that says whether the policy learns, from the rows of iterations."""
    score = trend([row["objective/scores"] for row in rows])
    if score is None:
        return f"learning: too early to say ({FEWEST} iterations needed)"
    parts = [f"the score is {_of(score)}"]
    for name in gold:
        found = trend([row[f"gold/{name}"] for row in rows])
        assert found is not None  # every row has both
        parts.append(f"the gold reward ({name}) is {_of(found)}")
        if score.word == "rising" and found.word == "falling":
            parts.append("the policy exploits the reward model")
    count = min(WINDOW, len(rows))
    return f"learning: over the last {count} iterations " + ", ".join(parts)


def _of(found: Trend) -> str:
    word = "without clear change" if found.word == "no clear change" else found.word
    return f"{word} ({found.change:+.2f} ± {found.error:.2f})"


def console_line(row: Mapping[str, float], gold: Sequence[str]) -> str:
    """Returns the line of an iteration."""
    seconds = " + ".join(f"{row[f'seconds/{part}']:.2f}" for part in ("sampling", "scoring", "update"))
    parts = [
        f"step {int(row['step'])}",
        f"score {row['objective/scores']:.2f}",
        *(f"gold {name} {row[f'gold/{name}']:.2f}" for name in gold),
        f"KL {mean_text(row['objective/kl'], row['objective/kl_error'])}",
        *([f"entropy {row['policy/entropy_avg']:.2f}"] if "policy/entropy_avg" in row else []),
        f"cut {percent(row['val/cut'])}",
        f"dead groups {percent(row['val/dead_groups'])}",
        f"{seconds} s (sampling, scoring, update)",
    ]
    return "  ".join(parts)


def evaluation_line(step: int, found: Mapping[str, Any], title: str) -> str:
    """Returns the line of an evaluation on held-out prompts, from the result of `summarize`."""
    parts = []
    for name in [key.removesuffix("_win_rate") for key in found if key.endswith("_win_rate")]:
        wins = percent(found[f"{name}_win_rate"]) + interval_text(found[f"{name}_win_rate_ci95"], " ({})")
        compared = f" (wins {wins} against the start)" if step else ""
        parts.append(f"{name.replace('_', ' ')} {found[name]:.2f}{compared}")
    parts.append(f"KL {mean_text(found['kl'], found['kl_error'])}")
    return f"{title}, step {step}: " + "  ".join(parts)


class Stop(NamedTuple):
    """The rule that ended a run, and a sentence."""

    rule: str
    sentence: str


def stop_of_iteration(row: Mapping[str, float], settings: StopSettings, max_response: int) -> Stop | None:
    """Returns the rule that an iteration breaks, if any: `cut`, `kl` or `entropy`."""
    if settings.cut and row["val/cut"] > settings.cut:
        return Stop(
            "cut",
            f"{percent(row['val/cut'])} of the responses were cut before their end, more than stop.cut={settings.cut}: "
            f"raise rollout.max_response, which is {max_response}",
        )
    if settings.kl and row["objective/kl"] > settings.kl:
        return Stop(
            "kl", f"the KL divergence of {row['objective/kl']:.2f} nats per response is above stop.kl={settings.kl}"
        )
    if settings.entropy and row.get("policy/entropy_avg", math.inf) < settings.entropy:
        return Stop(
            "entropy",
            f"the entropy of {row['policy/entropy_avg']:.3f} nats per token is below stop.entropy={settings.entropy}",
        )
    return None


def stop_of_patience(values: Sequence[float], patience: int) -> Stop | None:
    """Returns the rule `patience` if the best of the values, one for each evaluation, is that many evaluations old.

    Example:
        >>> stop_of_patience([1.0, 3.0, 2.0], 2), stop_of_patience([1.0, 3.0, 2.0, 3.0], 2).rule
        (None, 'patience')
    """
    if not patience or len(values) - 1 - int(np.argmax(values)) < patience:
        return None
    return Stop(
        "patience",
        f"the held-out score times rewards.weight, minus kl.coef times KL, has not been above {max(values):.2f} in the "
        f"last {patience} evaluations (stop.patience={patience})",
    )


def stop_of_evaluation(found: Mapping[str, Any], settings: StopSettings, weight: float) -> Stop | None:
    """Returns the rule `score` if the mean score on the held-out prompts has reached its threshold.

    If the score has a negative weight in the reward, its negative is compared.
    """
    score = math.copysign(1.0, weight) * found["score"]
    if settings.score and score >= settings.score:
        of = "the mean score" if weight > 0 else "minus the mean score"
        return Stop("score", f"{of} on held-out prompts, {score:.2f}, has reached stop.score={settings.score}")
    return None
