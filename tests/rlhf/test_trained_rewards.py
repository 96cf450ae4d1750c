"""Rewards that learn: novelty falls where the policy has been, and a discriminator finds the density ratio."""

import numpy as np
import pytest
from rollouts import END, make_rollout

from rmjax.errors import InputError
from rmjax.rlhf.rewards import RewardTerm, add_up
from rmjax.rlhf.trained_rewards import Discriminator, RandomDistillation


def one_hot(examples):
    """Hidden states: one-hot vectors of the tokens."""
    return [np.eye(10, dtype=np.float32)[ids] for e in examples for ids in e.responses]


def test_novelty_falls_at_visited_states_only():
    seen, other = make_rollout([[[5, 6, END], [6, END]]]), make_rollout([[[8, 7, END], [9, END]]])
    reward = RandomDistillation(one_hot, seed=0, learning_rate=1e-2, steps=300)
    before = reward(seen), reward(other)
    assert np.sqrt(np.mean(before[0][seen.mask_NxT] ** 2)) == pytest.approx(1, rel=1e-5)
    metrics = reward.update(seen)
    assert reward(seen).max() < 0.05 * before[0].max()
    later = reward(other)
    assert later[0, 0] > 0.3 * before[1][0, 0]
    assert later[0, 0] > 20 * reward(seen)[0, 0]
    assert metrics["loss"] > 0
    assert not later[~other.mask_NxT].any()
    add_up([RewardTerm("novelty", reward)], seen)


def test_novelty_continues_from_its_state():
    rollout = make_rollout([[[5, 6, END], [6, END]]])
    first = RandomDistillation(one_hot, seed=0)
    first(rollout)
    first.update(rollout)
    second = RandomDistillation(one_hot, seed=0)
    second.state = dict(first.state)
    for reward in (first, second):
        reward.update(rollout)
    np.testing.assert_array_equal(first(rollout), second(rollout))


def test_a_discriminator_finds_the_log_ratio_of_densities():
    """Token 5 is 3/4 of the demonstrations and 1/4 of the responses: the logit tends to log 3, and to -log 3 for 6."""
    good = make_rollout([[[5, END]] * 3 + [[6, END]]] * 60)
    bad = make_rollout([[[5, END]] + [[6, END]] * 3] * 8)
    reward = Discriminator(one_hot, good.examples(), seed=0, learning_rate=1e-2, steps=30)
    for step in range(20):
        metrics = reward.update(make_rollout([[[5, END]] + [[6, END]] * 3] * 60, step=step))
    found = reward(bad)
    assert found[0, 1] == pytest.approx(np.log(3), abs=0.35)
    assert found[1, 1] == pytest.approx(-np.log(3), abs=0.35)
    assert not found[:, 0].any()
    assert metrics["accuracy"] == pytest.approx(0.75, abs=0.1)


def test_an_adversarial_reward_needs_demonstrations():
    with pytest.raises(InputError, match="found none"):
        Discriminator(one_hot, [], seed=0)
