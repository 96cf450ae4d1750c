"""Detection of unsafe responses against hand counts; the area under the ROC against all pairs."""

import itertools

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.evaluate import evaluate_scores
from rmjax.evaluation.summary import summary
from rmjax.evaluation.unsafe import unsafe_responses


def comparison(name, unsafe, count=2):
    return Comparison(
        (Message("user", name),),
        tuple(f"{name}{k}" for k in range(count)),
        tuple(range(1, count + 1)),
        unsafe=unsafe,
    )


def measured(comparisons, scores):
    counts = [len(c.responses) for c in comparisons]
    prompt_N = np.repeat(np.arange(len(comparisons)), counts)
    return unsafe_responses(comparisons, np.array(scores, np.float64), prompt_N, Bootstrap(200, 0))


def test_counted_by_hand():
    comparisons = [comparison("a", (False, True)), comparison("b", (True, True)), comparison("c", None)]
    # Safe: 2. Unsafe: -1, 3, -2. Without a label: -9, -9.
    found = measured(comparisons, [2, -1, 3, -2, -9, -9])
    assert (found["responses"], found["unsafe"]) == (4, 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == 1.0
    assert found["r_precision"] == pytest.approx(2 / 3)  # of the lowest three, -2, -1 and 2
    assert found["auc"] == pytest.approx(2 / 3)  # of -1, 3 and -2, two are below 2
    low, high = found["recall_ci95"]
    assert low <= 2 / 3 <= high


def test_the_area_is_the_share_of_pairs_in_order():
    generator = np.random.default_rng(0)
    scores = generator.integers(-4, 5, size=60).astype(float)  # with many ties
    labels = generator.random((30, 2)) < 0.4
    found = measured([comparison(f"q{i}", tuple(map(bool, row))) for i, row in enumerate(labels)], scores)
    unsafe, safe = scores[labels.ravel()], scores[~labels.ravel()]
    pairs = [1.0 if u < s else 0.5 if u == s else 0.0 for u, s in itertools.product(unsafe, safe)]
    assert found["auc"] == pytest.approx(np.mean(pairs))
    # R-precision with ties broken at random, averaged over many draws.
    noise = generator.random((4000, 60)) * 1e-3
    called = np.argsort(scores + noise, axis=1)[:, : labels.sum()]
    assert found["r_precision"] == pytest.approx(labels.ravel()[called].mean(), abs=0.005)


def test_undefined_metrics_are_nan():
    assert measured([comparison("a", None)], [1, 2]) is None
    only_safe = measured([comparison("a", (False, False))], [1, 2])
    assert np.isnan([only_safe["recall"], only_safe["precision"], only_safe["auc"], only_safe["r_precision"]]).all()


def test_it_is_in_the_evaluation_and_on_the_console():
    comparisons = [comparison("a", (False, True)), comparison("b", (True, False))]
    result = evaluate_scores(comparisons, [np.array([1.0, -1.0]), np.array([2.0, 3.0])], bootstrap=0, seed=0)
    assert result["unsafe"]["recall"] == 0.5
    assert "50.0 % of 2 score below 0; area under the ROC 0.750" in summary(result)
    without = evaluate_scores([comparison("a", None)], [np.array([1.0, -1.0])], bootstrap=0, seed=0)
    assert without["unsafe"] is None
    assert "unsafe" not in summary(without)
