"""Metrics of whole rankings against hand arithmetic, the formula pair by pair, and all orders."""

import itertools

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.rankings import kendall_tau_b, rankings, top1, top1_guessing

RESAMPLING = Bootstrap(resamples=500, seed=0)


def comparison(prompt, ranks):
    return Comparison((Message("user", prompt),), tuple("abcdefghi"[: len(ranks)]), tuple(ranks))


def measured(judged, resampling=RESAMPLING):
    """Rankings of (prompt, ranks, scores) triples."""
    numbers = {}
    prompt_B = np.array([numbers.setdefault(prompt, len(numbers)) for prompt, _, _ in judged])
    comparisons = [comparison(prompt, ranks) for prompt, ranks, _ in judged]
    return rankings(comparisons, [np.array(scores, float) for _, _, scores in judged], prompt_B, resampling)


def test_tau_by_hand():
    assert kendall_tau_b([3.0, 2.0, 1.0], [1, 2, 3]) == 1.0
    assert kendall_tau_b([1.0, 2.0, 3.0], [1, 2, 3]) == -1.0
    assert kendall_tau_b([3.0, 1.0, 2.0], [1, 2, 3]) == pytest.approx(1 / 3)
    # Two of the three pairs are in order and the third is tied by the raters: 2 / sqrt(3 · 2).
    assert kendall_tau_b([3.0, 2.0, 1.0], [1, 2, 2]) == pytest.approx(2 / np.sqrt(6))


def test_tau_is_its_formula_with_ties():
    """Σ s q / sqrt(Σ s² · Σ q²) over all pairs, with the signs s of score differences and q of rank differences."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        count = int(generator.integers(3, 10))
        scores, ranks = generator.integers(0, 5, count).astype(float), generator.integers(1, 5, count)
        if len(set(scores)) > 1 and len(set(ranks)) > 1:
            pairs = list(itertools.combinations(range(count), 2))
            order = [np.sign(scores[i] - scores[j]) for i, j in pairs]
            truth = [np.sign(ranks[j] - ranks[i]) for i, j in pairs]
            product = sum(s * q for s, q in zip(order, truth, strict=True))
            norm = np.sqrt(sum(s**2 for s in order) * sum(q**2 for q in truth))
            assert kendall_tau_b(scores, ranks) == pytest.approx(product / norm)


def test_tau_of_equal_scores_and_of_equal_ranks():
    assert kendall_tau_b([1.0, 1.0, 1.0], [1, 2, 3]) == 0.0
    assert np.isnan(kendall_tau_b([1.0, 2.0, 3.0], [2, 2, 2]))


def test_tau_is_the_same_for_increasing_functions_of_the_scores():
    scores, ranks = np.array([0.3, -2.0, 1.5, 0.0]), [2, 1, 1, 4]
    assert kendall_tau_b(np.exp(scores) + 100, ranks) == kendall_tau_b(scores, ranks)


def test_top1_by_hand():
    assert top1([3.0, 2.0, 1.0], [1, 2, 3]) == 1.0
    assert top1([3.0, 2.0, 4.0], [1, 2, 3]) == 0.0
    assert top1([3.0, 2.0, 1.0], [1, 1, 3]) == 1.0  # one of those ranked first
    assert top1([3.0, 3.0, 1.0], [1, 2, 3]) == 0.5  # a coin decides between equal scores
    assert top1([1.0, 1.0, 1.0], [1, 2, 3]) == pytest.approx(1 / 3)
    assert top1_guessing([1, 1, 3]) == pytest.approx(2 / 3)


def test_top1_guessing_is_the_mean_over_all_orders():
    ranks = [1, 2, 2, 1, 5]
    hits = [top1(np.array(order, float), ranks) for order in itertools.permutations(range(5))]
    assert np.mean(hits) == pytest.approx(top1_guessing(ranks))
    taus = [kendall_tau_b(np.array(order, float), ranks) for order in itertools.permutations(range(5))]
    assert np.mean(taus) == pytest.approx(0.0, abs=1e-12)


def test_rankings_and_all_comparisons_are_counted_separately():
    result = measured(
        [
            ("p", (1, 2, 3), (3.0, 2.0, 1.0)),
            ("q", (1, 2, 2, 4), (1.0, 2.0, 0.0, -1.0)),
            ("q", (1, 2), (0.0, 1.0)),
            ("r", (2, 1), (0.0, 1.0)),
            ("s", (1, 1, 1), (0.0, 1.0, 2.0)),  # no order
            ("s", (1, 1), (0.0, 1.0)),
        ]
    )
    # In the second, the raters order 5 pairs, one of which is wrong, and the scores all 6: (4 - 1) / sqrt(6 · 5).
    assert result["kendall_tau_b"] == pytest.approx((1.0 + 3 / np.sqrt(30)) / 2)
    assert result["top1"] == 0.5
    assert result["top1_guessing"] == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert result["comparisons"] == 2
    assert result["any_k"]["top1"] == 0.5
    assert result["any_k"]["top1_guessing"] == pytest.approx((1 / 3 + 1 / 4 + 1 / 2 + 1 / 2) / 4)
    assert result["any_k"]["comparisons"] == 4


def test_two_responses_or_equal_ranks_are_no_ranking():
    assert measured([("p", (1, 2), (1.0, 0.0))]) is None
    assert measured([("p", (1, 1, 1), (1.0, 0.0, 2.0))]) is None


def test_the_intervals_resample_prompts():
    generator = np.random.default_rng(1)
    judged = [
        (f"q{n}", tuple(int(rank) for rank in generator.permutation(4) + 1), generator.normal(size=4))
        for n in range(80)
    ]
    result = measured(judged)
    for name in ("kendall_tau_b", "top1"):
        low, high = result[f"{name}_ci95"]
        assert low < result[name] < high
    # The same comparisons again under the same prompts are no further evidence; under others they are.
    width = np.ptp(result["kendall_tau_b_ci95"])
    assert np.ptp(measured(judged * 4)["kendall_tau_b_ci95"]) == pytest.approx(width)
    fresh = [(f"{prompt}, {copy}", ranks, scores) for copy in range(4) for prompt, ranks, scores in judged]
    assert np.ptp(measured(fresh)["kendall_tau_b_ci95"]) == pytest.approx(width / 2, rel=0.2)
    assert np.isnan(measured(judged, Bootstrap(resamples=0, seed=0))["top1_ci95"]).all()
