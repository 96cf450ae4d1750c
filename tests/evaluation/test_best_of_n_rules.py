"""Rows of rules that choose among samples: values by hand, limits, intervals, and wrong rules."""

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.evaluation.best_of_n import best_of_n, best_of_poisson
from rmjax.evaluation.best_of_n_kl import kl_of_poisson
from rmjax.evaluation.best_of_n_rules import parse_rule, rule_rows, rule_table
from rmjax.evaluation.bootstrap import Bootstrap

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(40, 32))
GOLD = {"helpful": 0.5 * SCORES + RNG.normal(size=SCORES.shape)}
RESAMPLED = Bootstrap(resamples=500, seed=0)


def rows(*rules, n=32, scores=SCORES, gold=GOLD):
    return rule_rows(scores, gold, n, [parse_rule(rule) for rule in rules], RESAMPLED)


def test_soft_choice_by_hand():
    """Two samples with odds of 3 to 1 at temperature 1, and of 9 to 1 at temperature 1/2."""
    scores, gold = np.array([[0.0, np.log(3.0)]] * 2), {"helpful": np.array([[0.0, 1.0]] * 2)}
    one, half = rows("soft:1", "soft:0.5", n=2, scores=scores, gold=gold)
    assert one["gold_helpful"] == pytest.approx(0.75)
    assert half["gold_helpful"] == pytest.approx(0.9)
    assert half["gold_helpful_gain"] == pytest.approx(0.4)


def test_extreme_strengths_are_best_of_n_and_the_policy():
    low, high, strict, mild = rows("soft:1e-6", "soft:1e6", "pessimistic:1e-6", "pessimistic:1e6")
    for name, values in (("score", SCORES), ("gold_helpful", GOLD["helpful"])):
        best = best_of_n(SCORES, values, 32).mean()
        assert low[name] == pytest.approx(best)
        assert strict[name] == pytest.approx(best)
        assert high[name] == pytest.approx(values.mean(), abs=1e-4)
        assert mild[name] == pytest.approx(values.mean(), abs=1e-4)
        assert mild[f"{name}_gain"] == pytest.approx(0, abs=1e-4)


def test_poisson_draws_n_samples_on_average_and_has_a_divergence():
    """One sample is always drawn, so the mean of the others is n - 1."""
    poisson, soft = rows("poisson", "soft:1", n=8)
    assert poisson["gold_helpful"] == pytest.approx(best_of_poisson(SCORES, GOLD["helpful"], 7.0).mean())
    assert poisson["kl"] == kl_of_poisson(7)
    assert soft["kl"] is None
    assert rule_table([poisson, soft])[2][1] == "-"


def test_intervals_are_over_prompts_and_hold_the_mean():
    """The interval of a mean over 40 prompts: about two standard errors on each side."""
    (row,) = rows("pessimistic:1")
    low, high = row["gold_helpful_ci95"]
    chosen_P = parse_rule("pessimistic:1").values(SCORES, GOLD["helpful"], 32)
    assert low < row["gold_helpful"] < high
    assert (high - low) / 2 == pytest.approx(1.96 * chosen_P.std(ddof=1) / 40**0.5, rel=0.2)


@pytest.mark.parametrize(
    "text", ["soft", "soft:0", "soft:-1", "soft:x", "soft:nan", "soft:inf", "poisson:2", "best", ""]
)
def test_a_wrong_rule_is_named(text):
    with pytest.raises(InputError, match="must be soft:TEMPERATURE, poisson or pessimistic:BETA"):
        parse_rule(text)
