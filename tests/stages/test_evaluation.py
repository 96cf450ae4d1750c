"""Comparison of two models of several seeds, against the accuracies and the interval of its parts."""

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.outcomes import Outcomes, difference_interval
from rmjax.evaluation.summary import seeds_summary
from rmjax.stages.evaluation import compare_seeds

COMPARISONS = [
    Comparison((Message("user", f"q{i}"),), ("a", "b"), (1, 2), head=("helpful", "safety")[i % 2]) for i in range(80)
]


def run(seed, share):
    """Outcomes of a model that is right on about this share of the comparisons."""
    right = np.random.default_rng(seed).random(len(COMPARISONS)) < share
    return Outcomes.of(COMPARISONS, [np.array([[float(r)], [float(not r)]]) for r in right], ("reward",))


def test_two_models_of_three_seeds_are_compared_over_seeds_and_prompts():
    good, bad = [run(seed, 0.9) for seed in range(3)], [run(seed + 10, 0.4) for seed in range(3)]
    result = compare_seeds(good, bad)
    assert result["accuracy"] == pytest.approx([o.credit_P.mean() for o in good])
    assert result["other_accuracy"] == pytest.approx([o.credit_P.mean() for o in bad])
    assert result["difference"] == pytest.approx(np.mean(result["accuracy"]) - np.mean(result["other_accuracy"]))
    found = difference_interval([o.accuracy() for o in good], [o.accuracy() for o in bad])
    assert result["difference_ci95"] == [found.low, found.high]
    assert (result["prompts"], result["pairs"], result["p"]) == (80, 80, found.p)
    assert found.low > 0.2
    safe = [o.accuracy("safety") for o in good], [o.accuracy("safety") for o in bad]
    assert result["labels"]["safety"]["difference"] == difference_interval(*safe).mean
    assert result["labels"]["safety"]["pairs"] == 40
    text = seeds_summary(result, ["a0", "a1", "a2"], ["b0", "b1", "b2"])
    assert "Better than --against over 3 seeds and these prompts: " in text
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["a0", "a1", "a2"]
    assert compare_seeds(bad, good)["difference"] == -result["difference"]


def test_other_pairs_are_an_error():
    other = Outcomes.of(COMPARISONS[:40], [np.array([[1.0], [0.0]])] * 40, ("reward",))
    with pytest.raises(ValueError, match="of different pairs"):
        compare_seeds([run(0, 0.5)], [other])
