"""Reference texts, and the normalization and canaries from their scores."""

import numpy as np
import pytest
from conftest import user

from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.scoring.finalize import demonstration_texts, finalize, reference_texts


def comparison(name, K, head=None):
    return Comparison(user(name), tuple(f"{name}{k}" for k in range(K)), tuple(range(1, K + 1)), head=head)


def responses_of(texts):
    return {head: [response for _, response in mine] for head, mine in texts.items()}


def test_the_references_of_a_head_are_spread_over_its_texts():
    comparisons = [
        comparison("a", 2, "safety"),
        comparison("b", 3, "helpful"),
        comparison("c", 2, "safety"),
        comparison("d", 2, "helpful"),
    ]
    texts = reference_texts(comparisons, ("helpful", "safety"), 3)
    assert responses_of(texts) == {"helpful": ["b0", "b2", "d1"], "safety": ["a0", "c0", "c1"]}
    assert texts["safety"][1][0] == user("c")


def test_references_reach_from_the_first_text_to_the_last_at_even_steps():
    texts = reference_texts([comparison(f"q{i}-", 2) for i in range(50)], ("helpful",), 12)
    assert responses_of(texts)["helpful"] == [f"q{place // 2}-{place % 2}" for place in range(0, 100, 9)]


@pytest.mark.parametrize("pairs", [40, 64, 96, 128, 131, 1000])
def test_references_are_as_often_the_chosen_as_the_rejected(pairs):
    """Also where every second text would be a chosen one."""
    texts = reference_texts([comparison(f"q{i}-", 2) for i in range(pairs)], ("helpful",), 64)["helpful"]
    assert len(set(texts)) == 64
    assert sum(response.endswith("-0") for _, response in texts) == pytest.approx(32, abs=6)


def test_a_single_head_takes_references_from_everything():
    texts = reference_texts([comparison("a", 2, "safety"), comparison("b", 2)], ("helpful",), 10)
    assert len(texts["helpful"]) == 4


def test_demonstrations_are_references_of_every_head():
    demonstrations = [Demonstration(user(f"q{i}"), f"a{i}") for i in range(10)]
    texts = demonstration_texts(demonstrations, ("helpful", "safety"), 4)
    spread = ["a0", "a3", "a6", "a9"]
    assert responses_of(texts) == {"helpful": spread, "safety": spread}
    assert texts["helpful"][1] == (user("q3"), "a3")
    assert len(demonstration_texts(demonstrations, ("helpful",), 99)["helpful"]) == 10


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


def test_equal_scores_do_not_divide_by_zero(reward_model):
    contract = finalize(reward_model, {"helpful": [(user("a"), "b")] * 3}, "some", step=1)
    assert contract.normalization["helpful"].std == pytest.approx(1.0)
