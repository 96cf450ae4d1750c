"""Rules that choose among samples in place of best-of-n: means over prompts with intervals, a row for each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.evaluation.best_of_n import best_of_poisson, by_rank, pessimistic, soft_best_of_n
from rmjax.evaluation.best_of_n_kl import kl_of_poisson
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.text_table import interval_text, number

FORMS = "soft:TEMPERATURE, poisson or pessimistic:BETA"


class Rule(NamedTuple):
    """A rule that chooses among samples.

    Attributes:
        text: its name as on the command line.
        kind: soft (`soft_best_of_n`), poisson (`best_of_poisson`) or pessimistic (`pessimistic`).
        strength: temperature of soft, beta of pessimistic, in units of the score; 0 for poisson.
    """

    text: str
    kind: str
    strength: float

    def values(self, score_PxN: np.ndarray, value_PxN: np.ndarray, n: int) -> np.ndarray:
        """Returns the expected value of the chosen sample, `[P] float64`.

        Soft chooses among n samples, poisson among n on average, pessimistic among all N.
        """
        if self.kind == "soft":
            return soft_best_of_n(score_PxN, value_PxN, n, self.strength)
        if self.kind == "poisson":
            return best_of_poisson(score_PxN, value_PxN, n - 1)
        return pessimistic(score_PxN, value_PxN, self.strength)


def parse_rule(text: str) -> Rule:
    """Returns the rule that a text names.

    Raises:
        InputError: the text is none of the forms.

    Example:
        >>> parse_rule("soft:0.5")
        Rule(text='soft:0.5', kind='soft', strength=0.5)
    """
    kind, colon, strength = text.partition(":")
    if kind == "poisson" and not colon:
        return Rule(text, kind, 0.0)
    try:
        found = float(strength)
    except ValueError:
        found = 0.0
    if kind not in ("soft", "pessimistic") or not 0 < found < np.inf:
        raise InputError(f"the rule {text!r} must be {FORMS}, with a number above 0")
    return Rule(text, kind, found)


def rule_rows(
    score_PxN: np.ndarray, gold: Mapping[str, np.ndarray], n: int, rules: Sequence[Rule], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """Returns a row for every rule: means over prompts, each with `..._ci95`, its interval over prompts.

    `score` and for every gold reward `gold_NAME`, with `..._gain`, the difference from the mean of all samples. `kl` is
    known for best-of-Poisson alone (`kl_of_poisson`), else None.

    Args:
        score_PxN: scores of the N samples of P prompts.
        gold: by name, the gold rewards of the same samples.
        n: number of samples to choose from.
        rules: the rules.
        bootstrap: settings of the intervals.

    Raises:
        InputError: as the functions of `best_of_n`.
    """
    measured = {"score": score_PxN, **{f"gold_{name}": value for name, value in gold.items()}}
    every = np.arange(len(score_PxN))
    rows = []
    for rule in rules:
        row: dict[str, Any] = {"rule": rule.text, "n": n}
        row["kl"] = kl_of_poisson(n - 1) if rule.kind == "poisson" else None
        for name, value_PxN in measured.items():
            chosen_P = rule.values(score_PxN, value_PxN, n)
            gain_P = chosen_P - by_rank(score_PxN, value_PxN).mean(1)
            for key, value_P in ((name, chosen_P), (f"{name}_gain", gain_P)):
                row |= {key: float(value_P.mean()), f"{key}_ci95": bootstrap.interval(value_P, every)}
        rows.append(row)
    return rows


def rule_table(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Returns the cells of a table of `rule_rows`, its header first.

    Example:
        >>> rows = rule_rows(np.array([[0.0, 1.0]]), {}, 2, [parse_rule("pessimistic:1")], Bootstrap(0, 0))
        >>> rule_table(rows)
        [('rule', 'KL', 'score'), ('pessimistic:1', '-', '0.750')]
    """
    golds = [name for name in rows[0] if name.startswith("gold_") and not name.endswith("_ci95")]
    names = ["score", *golds]

    def cell(row: Mapping[str, Any], name: str) -> str:
        return number(row[name]) + interval_text(row[f"{name}_ci95"], " ({})", form=".2f", scale=1)

    header = ("rule", "KL", *(name.replace("_", " ") for name in names))
    return [header, *((row["rule"], number(row["kl"]), *(cell(row, name) for name in names)) for row in rows)]
