"""DPO: its optimum is the best policy of the reward that the preferences follow; its implicit reward; its pairs."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import make_example, one_bin, random_examples
from rollouts import END, make_rollout
from toy import PROMPTS, Toy

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.rlhf.preference import best_and_worst, dpo_objective, implicit_reward, response_sums


def test_sums_over_the_tokens_of_each_response():
    examples = [
        dataclasses.replace(e, per_token={"x": tuple(ids.astype(np.float32) for ids in e.responses)})
        for e in random_examples(7, seed=1)
    ]
    batch, slots = one_bin(examples, BatchShape(3, 64, 32, 32))
    found = response_sums(jnp.asarray(batch.per_token["x"]), batch)
    for n, (example, k) in enumerate(slots):
        assert float(found[n]) == examples[example].responses[k].sum()


@pytest.fixture(scope="module")
def pairs():
    """(toy, batch of all ordered pairs of responses, each weighted by P(first is preferred))."""
    toy = Toy(limit=2, beta=0.5)
    plain = toy.enumerated(toy.params())[0]
    ref = np.asarray(toy.logprobs(jnp.asarray(toy.reference, jnp.float32)))
    examples = []
    for p in range(PROMPTS):
        ids = [np.array(response, np.int32) for response in toy.responses]
        couples = list(itertools.permutations(range(len(ids)), 2))
        example = make_example(plain.prompt_ids[p], ids, pairs=couples)
        gaps = np.array([toy.reward[p, i] - toy.reward[p, j] for i, j in couples])
        weight = (1 / (1 + np.exp(-gaps)) / len(couples)).astype(np.float32)
        log_ref = [np.full(len(r), ref[p, y] / len(r), np.float32) for y, r in enumerate(ids)]
        examples.append(dataclasses.replace(example, weight=weight, per_token={"ref_logprob": tuple(log_ref)}))
    tokens = sum(len(e.prompt) + sum(map(len, e.responses)) for e in examples)
    batch, _ = one_bin(examples, BatchShape(1, tokens, 80, 2 * len(couples)))
    return toy, batch


def test_the_best_policy_is_stationary(pairs):
    """With Bradley-Terry preferences of the rewards, π* ∝ π_ref exp(r/β) has gradient 0; the reference does not."""
    toy, batch = pairs
    logits = np.array(toy.reference, np.float64)
    _, best = toy.best()
    for p in range(
        PROMPTS
    ):  # the best policy as logits: log of the mass of all responses through each prefix and token
        mass = np.zeros((toy.states, logits.shape[-1]))
        for y in range(len(toy.responses)):
            for t in range(toy.mask[y].sum()):
                mass[toy.state[y, t], toy.action[y, t]] += np.exp(best[p, y])
        reached = mass.sum(1) > 0
        logits[p, reached] = np.log(mass[reached])
    gradient = jax.jit(jax.grad(lambda p: dpo_objective(toy.apply, beta=toy.beta)(p, batch)[0]))
    at_best = gradient({**toy.params(), "logits": jnp.asarray(logits, jnp.float32)})["logits"]
    at_start = gradient(toy.params())["logits"]
    assert float(jnp.abs(at_best).max()) < 1e-4 * float(jnp.abs(at_start).max())


def test_the_implicit_reward_is_the_log_ratio_per_token():
    rollout = make_rollout([[[5, 6, END], [END]], [[4, 7, 8], [3, END]]])

    def policy(examples):
        return [0.5 * ids for e in examples for ids in e.responses]

    def reference(examples):
        return [0.25 * ids for e in examples for ids in e.responses]

    found = implicit_reward(policy, reference, beta=2.0)(rollout)
    assert found.tolist() == [[2.5, 3, 0], [0, 0, 0], [2, 3.5, 4], [1.5, 0, 0]]


def test_pairs_are_the_best_and_the_worst():
    rollout = make_rollout([[[5, END], [6, END], [7, END]], [[1, END], [2, END], [3, END]]])
    arrays = {"x": rollout.padded([sample.ids for sample in rollout.samples])}
    found = best_and_worst(rollout.examples(arrays), np.array([2.0, 5.0, -1.0, 4.0, 4.0, 4.0]))
    assert len(found) == 1
    assert [ids.tolist() for ids in found[0].responses] == [[6, END], [7, END]]
    assert [x.tolist() for x in found[0].per_token["x"]] == [[6, END], [7, END]]
    assert (found[0].winner.tolist(), found[0].loser.tolist(), found[0].weight.tolist()) == ([0], [1], [1])


def test_beta_is_positive():
    with pytest.raises(InputError, match="beta must be positive"):
        dpo_objective(lambda params, batch: None, beta=0.0)
