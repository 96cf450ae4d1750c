"""Expected gradients of the algorithms, against the gradient of the exact objective E[r] - β KL."""

import itertools

import jax
import numpy as np
import pytest
from learning import algorithm, expected_gradient, moved, relative_error
from toy import PROMPTS, Toy

from rmjax.rlhf.rewards import RewardTerm, sparse


def exact_gradient(toy, params):
    """The gradient of the loss -J."""
    return -np.asarray(jax.grad(toy.objective)(params["logits"]))


def pairs_of_responses(toy, params):
    """(rollout whose groups are all pairs of responses, probability of each pair / 2)."""
    whole, probability_N = toy.enumerated(params)
    count = len(toy.responses)
    pairs = list(itertools.product(range(count), repeat=2))
    samples = [whole.samples[p * count + y] for p in range(PROMPTS) for pair in pairs for y in pair]
    chance = [probability_N[p * count + i] * probability_N[p * count + j] for p in range(PROMPTS) for i, j in pairs]
    prompts, ids = toy.prompts(len(pairs))
    rollout = type(whole)(
        tuple(prompts), tuple(ids), np.repeat(np.arange(len(prompts)), 2), tuple(samples), ("",) * len(samples)
    )
    # The sum over the pairs of one prompt is an expectation; `expected_gradient` divides by the number of groups.
    return rollout, np.repeat(chance, 2) / 2 * len(pairs)


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture(scope="module")
def params(toy):
    return moved(toy, toy.params())


def test_ppo_has_the_exact_gradient_for_any_values(toy, params):
    gradient = expected_gradient(toy, algorithm(toy, "ppo"), params)
    assert relative_error(gradient, exact_gradient(toy, params)) < 1e-5


@pytest.mark.parametrize(
    ("name", "credit", "share"),
    [("rloo", "response", 1.0), ("rloo", "token", 1.0), ("grpo", "response", 0.5), ("grpo", "token", 0.5)],
)
def test_group_baselines_have_the_exact_gradient(name, credit, share):
    """In expectation over all pairs of responses. The baseline of GRPO contains the response itself, which scales the
    gradient by (K - 1) / K."""
    toy = Toy(limit=2)
    params = moved(toy, toy.params())
    config = algorithm(toy, name, samples=2, credit=credit)
    gradient = expected_gradient(toy, config, params, None, *pairs_of_responses(toy, params))
    assert relative_error(gradient, share * exact_gradient(toy, params)) < 1e-5


def test_a_reward_one_token_early_has_another_gradient(toy, params):
    def early(rollout):
        return np.roll(sparse(toy.score)(rollout), -1, axis=1) * rollout.mask_NxT

    gradient = expected_gradient(toy, algorithm(toy, "ppo"), params, [RewardTerm("early", early)])
    assert relative_error(gradient, exact_gradient(toy, params)) > 0.3
