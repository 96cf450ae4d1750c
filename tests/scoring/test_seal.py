"""Reference texts, and the normalization and canaries made of their scores."""

import numpy as np
import pytest
from conftest import user

from rmjax.data.comparisons import Comparison
from rmjax.scoring.seal import reference_texts, seal


def comparison(name, K, head=None):
    return Comparison(user(name), tuple(f"{name}{k}" for k in range(K)), tuple(range(1, K + 1)), head=head)


def test_the_first_texts_of_each_head_are_its_references():
    comparisons = [
        comparison("a", 2, "safety"),
        comparison("b", 3, "helpful"),
        comparison("c", 2, "safety"),
        comparison("d", 2, "helpful"),
    ]
    texts = reference_texts(comparisons, ("helpful", "safety"), 3)
    assert {head: [response for _, response in mine] for head, mine in texts.items()} == {
        "helpful": ["b0", "b1", "b2"],
        "safety": ["a0", "a1", "c0"],
    }
    assert texts["safety"][2][0] == user("c")


def test_a_single_head_takes_references_from_everything():
    texts = reference_texts([comparison("a", 2, "safety"), comparison("b", 2)], ("helpful",), 10)
    assert len(texts["helpful"]) == 4


def test_a_seal_states_step_normalization_and_canaries(reward_model, references):
    contract = reward_model.contract
    assert contract.step == 7
    for head, texts in references.items():
        scores = reward_model.score([p for p, _ in texts], [r for _, r in texts], head=head).astype(np.float64)
        normalization = contract.normalization[head]
        assert normalization.mean == pytest.approx(scores.mean(), rel=1e-5)
        assert normalization.std == pytest.approx(scores.std(), rel=1e-5)
        assert (normalization.count, normalization.source) == (len(texts), "made-up texts")
        mine = [canary for canary in contract.canaries if canary.head == head]
        ends = [min(canary.score for canary in mine), max(canary.score for canary in mine)]
        np.testing.assert_allclose(ends, [scores.min(), scores.max()], rtol=1e-4)


def test_a_head_without_texts_has_no_normalization(reward_model, references):
    contract = seal(reward_model, {"helpful": references["helpful"], "safety": []}, "some", step=1)
    assert set(contract.normalization) == {canary.head for canary in contract.canaries} == {"helpful"}


def test_equal_scores_do_not_divide_by_zero(reward_model):
    contract = seal(reward_model, {"helpful": [(user("a"), "b")] * 3}, "some", step=1)
    assert contract.normalization["helpful"].std == pytest.approx(1.0)
