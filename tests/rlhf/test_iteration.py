"""Iterations: metrics, messages, and the exact continuation of a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from learning import algorithm, make_learner
from toy import Toy

from rmjax.errors import InputError
from rmjax.rlhf.algorithm import AlgorithmConfig, scaled, token_advantages
from rmjax.rlhf.iteration import NotFinite
from rmjax.rlhf.kl import KLConfig
from rmjax.rlhf.policy import PolicyLossConfig
from rmjax.rlhf.rewards import RewardTerm, missing_end_penalty, sparse
from rmjax.training.step import init_state

pytestmark = pytest.mark.usefixtures("quick_compilation")


SGD = optax.sgd(1.0)


@pytest.fixture(scope="module")
def toy():
    return Toy()


def start(learner, toy):
    return learner.layout.device_put(init_state(toy.params(), SGD))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(toy):
    """State, coefficient, shape and number of the iteration are all that a run needs; every float is equal."""
    kl = KLConfig(coef=0.3, target=0.5, horizon=200)
    config = algorithm(toy, "ppo", samples=6, epochs=2, minibatches=2, kl=kl)
    learner = make_learner(toy, config, SGD)
    state, coef = start(learner, toy), kl.coef
    for step in range(4):
        result = learner.run(state, coef, *toy.prompts(2), step)
        state, coef = result.state, result.coef
        if step == 1:
            saved = jax.tree.map(np.asarray, learner.layout.unreplicate(state)), coef, learner.shape
    whole = learner.layout.unreplicate(state)
    again = make_learner(toy, config, SGD)
    again.shape = saved[2]
    state, coef = again.layout.device_put(jax.tree.map(jnp.asarray, saved[0])), saved[1]
    for step in (2, 3):
        continued = again.run(state, coef, *toy.prompts(2), step)
        state, coef = continued.state, continued.coef
    assert same(whole, again.layout.unreplicate(state))
    assert continued.coef == result.coef != kl.coef
    without_time = [{k: v for k, v in r.metrics.items() if "seconds" not in k} for r in (result, continued)]
    assert without_time[0] == without_time[1]
    assert [s.ids.tolist() for s in continued.rollout.samples] == [s.ids.tolist() for s in result.rollout.samples]


def test_metrics_are_those_of_the_rollout(toy):
    terms = [RewardTerm("gold", sparse(toy.score), weight=2.0), RewardTerm("end", missing_end_penalty(1.0))]
    learner = make_learner(toy, algorithm(toy, "rloo", samples=8), SGD, terms)
    result = learner.run(start(learner, toy), 0.3, *toy.prompts(3), 0)
    rollout, metrics = result.rollout, result.metrics
    assert len(rollout) == 48
    cut = np.mean([sample.ids[-1] != toy.end for sample in rollout.samples])
    assert metrics["cut"] == pytest.approx(cut)
    assert metrics["gold_raw"] == pytest.approx(toy.score(rollout).mean(), rel=1e-5)
    assert metrics["reward"] == pytest.approx(2 * toy.score(rollout).mean() - cut, rel=1e-4)
    assert metrics["length"] == np.mean([len(sample.ids) for sample in rollout.samples])
    assert metrics["share_gold"] + metrics["share_end"] + metrics["share_kl"] == pytest.approx(1, abs=1e-5)
    assert metrics["dead_groups"] == 0
    assert {"seconds_sampling", "seconds_scoring", "seconds_update", "kl_error", "pg_loss", "entropy"} <= metrics.keys()


def test_advantages_are_the_sum_of_those_of_the_parts(toy):
    rollout = toy.rollout(tuple(s for group in toy.sampler()(replicated(toy), toy.prompts()[1], 6, 0) for s in group))
    rng = np.random.default_rng(0)
    first, second, values = (
        np.where(rollout.mask_NxT, rng.normal(size=rollout.mask_NxT.shape), 0).astype(np.float32) for _ in range(3)
    )
    for config in (algorithm(toy, "ppo"), algorithm(toy, "rloo", credit="token"), algorithm(toy, "grpo")):
        whole = token_advantages(config, first + second, values, rollout)
        parts = [
            token_advantages(config, first, values * 0, rollout),
            token_advantages(config, second, values, rollout),
        ]
        np.testing.assert_allclose(whole, sum(parts), atol=1e-5)


def test_division_by_the_deviation_of_a_group_has_a_floor(toy):
    rollout = toy.rollout(tuple(toy.sample_of(y, np.zeros((toy.states, 6))) for y in (0, 1, 0, 1)))
    reward = rollout.at_last(np.array([0.0, 4.0, 1.0, 1.0 + 1e-6]))
    config = algorithm(toy, "grpo", divide_by_std=True, std_floor=0.01)
    found = scaled(config, token_advantages(config, reward, reward * 0, rollout), reward * 0, reward.sum(1), rollout)
    np.testing.assert_allclose(found[:, 0], [-1, 1, -5e-5, 5e-5], atol=1e-5)


def replicated(toy):
    return {name: array[None] for name, array in toy.params().items()}


def test_a_sampler_of_another_policy_is_noticed(toy):
    learner = make_learner(toy, algorithm(toy, "rloo", samples=4), SGD)

    def colder(params, *rest):
        return toy.sampler()({**params, "logits": params["logits"] / 0.7}, *rest)

    learner.sample = colder
    with pytest.raises(InputError, match=r"nats per token, more than algorithm.max_gap"):
        learner.run(start(learner, toy), 0.3, *toy.prompts(), 0)


def test_log_probabilities_that_are_not_finite_are_named_as_such(toy):
    learner = make_learner(toy, algorithm(toy, "rloo", samples=4), SGD)
    state = start(learner, toy)
    rollout = learner.run(start(learner, toy), 0.3, *toy.prompts(), 0).rollout
    with pytest.raises(NotFinite, match="a log-probability of the policy is not finite"):
        learner.evaluate(jax.tree.map(lambda x: x * jnp.nan, state.params), rollout, 0.3)


def test_the_penalty_is_not_divided_by_the_deviation_of_rewards(toy):
    """Equal rewards have no deviation: the floor would make the penalty a hundred times as large."""
    config = algorithm(toy, "grpo", samples=4, divide_by_std=True, std_floor=0.01, max_gap=100.0)
    equal = [RewardTerm("equal", lambda rollout: rollout.at_last(np.ones(len(rollout))))]
    learner = make_learner(toy, config, SGD, equal)
    state = start(learner, toy)
    rollout = learner.run(start(learner, toy), 0.3, *toy.prompts(), 0).rollout
    learner.reference = learner.layout.device_put(jax.tree.map(lambda x: x * 1.5, toy.params()))
    divided = learner.evaluate(state.params, rollout, 0.3)
    learner.config = dataclasses.replace(config, divide_by_std=False)
    plain = learner.evaluate(state.params, rollout, 0.3)
    found, expected = (
        np.concatenate([a for e in x.examples for a in e.per_token["advantage"]]) for x in (divided, plain)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)  # rounding, divided by 0.01
    assert np.abs(expected).max() > 0.1


def test_a_biased_penalty_is_named(toy, capsys):
    make_learner(toy, algorithm(toy, "ppo", kl=KLConfig(placement="loss", estimator="k3")), SGD)
    assert "forward KL" in capsys.readouterr().err
    make_learner(toy, algorithm(toy, "ppo"), SGD)
    assert not capsys.readouterr().err


def test_online_dpo_learns(toy):
    config = AlgorithmConfig(name="online_dpo", samples=8, kl=KLConfig(coef=0.3), loss=PolicyLossConfig(value_coef=0.0))
    learner = make_learner(toy, config, optax.sgd(20.0))
    state = learner.layout.device_put(init_state(toy.params(), optax.sgd(20.0)))
    for step in range(15):
        result = learner.run(state, 0.3, *toy.prompts(4), step)
        state = result.state
    assert toy.gap(learner.layout.unreplicate(state.params)["logits"]) < 0.6
    equal = [RewardTerm("equal", lambda rollout: np.zeros(rollout.mask_NxT.shape, np.float32))]
    learner.rewards = equal
    before = learner.layout.unreplicate(state.params)
    unchanged = learner.run(state, 0.3, *toy.prompts(4), 99)
    assert unchanged.metrics["dead_groups"] == 1
    assert same(before, learner.layout.unreplicate(unchanged.state.params))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "dqn"}, "algorithm.name must be one of"),
        ({"credit": "token"}, "credits every token by its value function"),
        ({"loss": PolicyLossConfig(value_coef=0.0)}, "ppo needs a value function"),
        ({"name": "rloo"}, "rloo has no value function"),
        ({"name": "rloo", "samples": 1, "loss": PolicyLossConfig(value_coef=0.0)}, "samples to at least 2"),
        ({"divide_by_std": True}, "divide_by_std is for grpo"),
        ({"gamma": 1.5}, "algorithm.gamma"),
        ({"epochs": 0}, "algorithm.epochs"),
        ({"std_floor": 0.0}, "algorithm.std_floor"),
        (
            {"name": "online_dpo", "loss": PolicyLossConfig(value_coef=0.0), "kl": KLConfig(coef=0.0)},
            "online_dpo takes kl.coef",
        ),
    ],
)
def test_settings_that_do_not_fit(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        AlgorithmConfig(**changes)
