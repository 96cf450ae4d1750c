"""Two models on the same pairs, against hand counts, exact binomial sums, and printed text."""

import fractions
import math

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.compare import compare, mcnemar
from rmjax.evaluation.evaluate import json_safe
from rmjax.evaluation.summary import comparison_summary

RESAMPLING = Bootstrap(resamples=1000, seed=0)


def pair(prompt, **kwargs):
    return Comparison((Message("user", prompt),), ("a", "b"), (1, 2), **kwargs)


def scores(gaps):
    return [np.array([gap, 0.0]) for gap in gaps]


def test_counted_by_hand():
    comparisons = [pair(f"q{n}") for n in range(6)]
    result = compare(comparisons, scores([1, 1, 1, -1, 0, -1]), scores([1, -1, 0, 1, 0, -1]), RESAMPLING)
    assert result["accuracy"] == pytest.approx(3.5 / 6)
    assert result["other_accuracy"] == pytest.approx(3 / 6)
    assert result["difference"] == pytest.approx(0.5 / 6)
    assert (result["better"], result["worse"], result["pairs"]) == (2, 1, 6)
    assert result["agree"] == 0.5
    assert result["mcnemar_p"] == 1.0
    assert "labels" not in result


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (5, 5), (9, 2), (2, 9), (130, 90), (3000, 2800)])
def test_mcnemar_is_its_formula_in_exact_arithmetic(better, worse):
    total, smaller = better + worse, min(better, worse)
    tail = fractions.Fraction(sum(math.comb(total, k) for k in range(smaller + 1)), 2**total)
    assert mcnemar(better, worse) == pytest.approx(float(min(1, 2 * tail)), rel=1e-9)


def test_mcnemar_of_very_many_pairs_is_a_number():
    assert 0.0 <= mcnemar(9000, 100) < 1e-300


def test_swapping_the_models_changes_the_sign():
    generator = np.random.default_rng(0)
    comparisons = [pair(f"q{n % 40}") for n in range(90)]
    one, other = (scores(generator.integers(-1, 3, 90)) for _ in range(2))
    here, there = compare(comparisons, one, other, RESAMPLING), compare(comparisons, other, one, RESAMPLING)
    assert here["difference"] == pytest.approx(-there["difference"])
    assert (here["better"], here["agree"], here["mcnemar_p"]) == (there["worse"], there["agree"], there["mcnemar_p"])
    assert here["accuracy"] == there["other_accuracy"]


def test_a_model_does_not_differ_from_itself():
    comparisons = [pair(f"q{n}") for n in range(50)]
    mine = scores(np.random.default_rng(0).normal(size=50))
    result = compare(comparisons, mine, mine, RESAMPLING)
    assert (result["difference"], result["agree"], result["mcnemar_p"]) == (0.0, 1.0, 1.0)
    assert result["difference_ci95"] == (0.0, 0.0)


def test_the_interval_is_of_the_paired_difference():
    """Two models that fail on the same pairs differ on few others; two separate intervals would hide that."""
    comparisons = [pair(f"q{n}") for n in range(400)]
    common = np.random.default_rng(1).choice([1.0, -1.0], 400, p=[0.6, 0.4])
    better = common.copy()
    better[np.flatnonzero(common < 0)[:12]] = 1.0
    result = compare(comparisons, scores(better), scores(common), RESAMPLING)
    assert result["difference"] == pytest.approx(0.03)
    low, high = result["difference_ci95"]
    assert 0 < low < 0.03 < high < 0.05
    half_width = 1.96 * np.sqrt(0.03 * 0.97 / 400)
    assert high - low == pytest.approx(2 * half_width, rel=0.15)


def test_only_mcnemar_counts_copies_of_a_prompt_as_evidence():
    gaps, other = np.tile([1.0, -1.0, 1.0, 1.0], 10), np.tile([1.0, 1.0, -1.0, -1.0], 10)
    once = compare([pair(f"q{n}") for n in range(40)], scores(gaps), scores(other), RESAMPLING)
    copies = [pair(f"q{n}") for n in range(40) for _ in range(5)]
    five = compare(copies, scores(np.repeat(gaps, 5)), scores(np.repeat(other, 5)), RESAMPLING)
    assert five["difference_ci95"] == pytest.approx(once["difference_ci95"])
    assert five["mcnemar_p"] < 0.01 < once["mcnemar_p"]


def test_labels_are_compared_separately():
    comparisons = [pair("a", head="safety"), pair("b", head="helpful"), pair("c", head="helpful"), pair("d")]
    result = compare(comparisons, scores([1, 1, -1, 1]), scores([-1, 1, 1, 1]), RESAMPLING)
    assert list(result["labels"]) == ["helpful", "safety"]
    assert [result["labels"][label]["difference"] for label in ("helpful", "safety")] == [-0.5, 1.0]
    assert result["pairs"] == 4
    text = comparison_summary(json_safe(result), "runs/a", "runs/b")
    assert text.splitlines()[0].split() == ["all", "pairs", "helpful", "safety"]


def test_the_verdict_follows_the_interval():
    comparisons = [pair(f"q{n}") for n in range(60)]

    def verdict(one, other, resampling=RESAMPLING):
        result = compare(comparisons, scores(one), scores(other), resampling)
        return comparison_summary(json_safe(result), "runs/a", "runs/b").splitlines()[-1]

    right, mixed = np.ones(60), np.tile([1.0, 1.0, -1.0], 20)
    assert verdict(right, mixed).startswith(
        "runs/a is better than runs/b on these pairs: +33.3 points (95 % interval +"
    )
    assert verdict(mixed, right).startswith("runs/a is worse than runs/b")
    assert verdict(mixed, mixed[::-1]).startswith("runs/a is not distinguishable from runs/b")
    assert verdict(right, mixed, Bootstrap(0, 0)) == "Without an interval, so chance cannot be excluded."
