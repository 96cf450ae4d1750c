"""Expected gradients of the algorithms, against the gradient of the exact objective E[r] - β KL."""

import itertools

import jax
import numpy as np
import pytest
from learning import algorithm, expected_gradient, moved, relative_error
from toy import PROMPTS, Toy, state_of

from rmjax.rlhf.prefixes import dense, shaped
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


@pytest.fixture(scope="module")
def paired():
    toy = Toy(limit=2)
    params = moved(toy, toy.params())
    return toy, params, pairs_of_responses(toy, params)


def test_ppo_has_the_exact_gradient_for_any_values(toy, params):
    gradient = expected_gradient(toy, algorithm(toy, "ppo"), params)
    assert relative_error(gradient, exact_gradient(toy, params)) < 1e-5


@pytest.mark.parametrize(
    ("name", "credit", "share"),
    [("rloo", "response", 1.0), ("rloo", "token", 1.0), ("grpo", "response", 0.5), ("grpo", "token", 0.5)],
)
def test_group_baselines_have_the_exact_gradient(paired, name, credit, share):
    """In expectation over all pairs of responses. The baseline of GRPO contains the response itself, which scales the
    gradient by (K - 1) / K."""
    toy, params, pairs = paired
    config = algorithm(toy, name, samples=2, credit=credit)
    gradient = expected_gradient(toy, config, params, None, *pairs)
    assert relative_error(gradient, share * exact_gradient(toy, params)) < 1e-5


def test_a_reward_one_token_early_has_another_gradient(toy, params):
    def early(rollout):
        return np.roll(sparse(toy.score)(rollout), -1, axis=1) * rollout.mask_NxT

    gradient = expected_gradient(toy, algorithm(toy, "ppo"), params, [RewardTerm("early", early)])
    assert relative_error(gradient, exact_gradient(toy, params)) > 0.3


def potential_of(toy, seed=3):
    """An arbitrary Φ of prompt and prefix, and the score of the whole response after its last token."""
    table = np.random.default_rng(seed).normal(size=(PROMPTS, toy.states)).astype(np.float32)

    def potential(rollout):
        phi = np.repeat(toy.score(rollout)[:, None], rollout.mask_NxT.shape[1] + 1, axis=1)
        for n, sample in enumerate(rollout.samples):
            prompt = int(rollout.prompt_ids[rollout.group_N[n]][0]) - 1
            for t in range(len(sample.ids)):
                phi[n, t] = table[prompt, state_of(sample.ids[:t])]
        return phi

    return potential


@pytest.mark.parametrize("kind", ["shaped", "dense"])
def test_dense_and_shaped_rewards_do_not_move_the_best_policy(toy, params, kind):
    """Their expected gradient is that of the sparse reward at any policy, so they have the same optimum."""
    gold, potential = RewardTerm("gold", sparse(toy.score)), potential_of(toy)
    terms = {"dense": [RewardTerm("dense", dense(potential))], "shaped": [gold, RewardTerm("F", shaped(potential))]}
    gradient = expected_gradient(toy, algorithm(toy, "ppo"), params, terms[kind])
    assert relative_error(gradient, exact_gradient(toy, params)) < 1e-5


def test_shaping_with_another_value_after_the_end_moves_it(toy, params):
    """Φ(terminal) = 0 is needed: with the score there instead, the reward counts twice."""

    def unterminated(rollout):
        phi = potential_of(toy)(rollout)
        return np.where(rollout.mask_NxT, phi[:, 1:] - phi[:, :-1], np.float32(0))

    terms = [RewardTerm("gold", sparse(toy.score)), RewardTerm("shaped", unterminated)]
    gradient = expected_gradient(toy, algorithm(toy, "ppo"), params, terms)
    assert relative_error(gradient, exact_gradient(toy, params)) > 0.3
