"""The objective of an update: values by hand, normalization, and independence of the division into parts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from learning import algorithm, make_learner, moved
from naive import one_bin
from toy import Toy

from rmjax.data.batch import BatchShape
from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.rlhf.kl import KLConfig
from rmjax.rlhf.policy import PolicyLossConfig, policy_objective, token_weights
from rmjax.training.step import init_state, make_train_step


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture(scope="module")
def rollout(toy):
    """Six responses to each prompt."""
    params = moved(toy, toy.params(), seed=5)
    sampled = toy.sampler()({name: array[None] for name, array in params.items()}, toy.prompts()[1], 6, 0)
    return toy.rollout(tuple(sample for group in sampled for sample in group))


def payload(rollout, config, seed=0):
    """Random arrays of all terms."""
    rng = np.random.default_rng(seed)
    names = ("old_logprob", "advantage", "old_value", "return", "ref_logprob")
    arrays = {name: rng.normal(size=rollout.mask_NxT.shape).astype(np.float32) for name in names}
    arrays["old_logprob"] = rollout.logprob_NxT + 0.2 * arrays["old_logprob"]
    return {**arrays, "weight": token_weights(rollout.length_N, rollout.mask_NxT.shape[1], config)}


def expected_loss(toy, params, rollout, arrays, config, kl):
    """The loss by loops over responses and tokens, in float64."""
    logits = np.asarray(params["logits"], np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total, tokens, responses = 0.0, 0, []
    for n, sample in enumerate(rollout.samples):
        y, p = toy.index[tuple(sample.ids.tolist())], rollout.group_N[n]
        terms = []
        for t in range(len(sample.ids)):
            state = toy.state[y, t]
            at = {name: float(array[n, t]) for name, array in arrays.items()}
            logprob = log_p[p, state, sample.ids[t]]
            ratio, a = np.exp(logprob - at["old_logprob"]), at["advantage"]
            term = max(-a * ratio, -a * np.clip(ratio, 1 - config.clip, 1 + config.clip))
            value = float(params["values"][p, state])
            bounded = np.clip(value, at["old_value"] - config.value_clip, at["old_value"] + config.value_clip)
            term += config.value_coef * max((value - at["return"]) ** 2, (bounded - at["return"]) ** 2) / 2
            term += config.entropy_coef * (np.exp(log_p[p, state]) * log_p[p, state]).sum()
            if kl.placement == "loss":
                d = at["ref_logprob"] - logprob
                term += kl.coef * (d * d / 2 if kl.estimator == "k2" else np.expm1(d) - d)
            terms.append(term)
        total += sum(terms)
        tokens += len(terms)
        responses.append((sum(terms), len(terms)))
    if config.normalization == "token":
        return total / tokens
    if config.normalization == "sequence":
        return np.mean([s / length for s, length in responses])
    return np.mean([s / config.max_response for s, _ in responses])


K3, K2 = (KLConfig(placement="loss", estimator=estimator, coef=2.0) for estimator in ("k3", "k2"))
CASES = [("token", KLConfig()), ("token", K2), ("sequence", K3), ("constant", KLConfig())]


@pytest.mark.parametrize(("normalization", "kl"), CASES)
def test_the_loss_is_that_of_loops(toy, rollout, normalization, kl):
    config = PolicyLossConfig(entropy_coef=0.3, value_coef=0.7, normalization=normalization, max_response=3)
    params, arrays = moved(toy, toy.params(), seed=2), payload(rollout, config)
    batch, _ = one_bin(rollout.examples(arrays), BatchShape(2, 40, 16, 8))
    numerator, sums = jax.jit(policy_objective(toy.apply, config, kl))(params, batch)
    assert float(numerator / sums["weight"]) == pytest.approx(
        expected_loss(toy, params, rollout, arrays, config, kl), rel=1e-5
    )
    assert 0 < float(sums["pg_clipfrac"] / sums["pg_clipfrac_weight"]) < 1
    assert float(sums["entropy_weight"]) == rollout.mask_NxT.sum()


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_a_step_does_not_depend_on_its_division(toy, rollout, one_device, normalization):
    """One row or several, one microbatch or two, a prompt in one piece or cut: the same step."""
    config = PolicyLossConfig(normalization=normalization)
    params = moved(toy, toy.params(), seed=2)
    examples = rollout.examples(payload(rollout, config))
    step = make_train_step(policy_objective(toy.apply, config, KLConfig()), optax.sgd(1.0), one_device)
    results = []
    for row_length, microbatches in ((0, 1), (8, 1), (0, 2)):
        stream = BatchStream(examples, batch_size=2, epochs=1, row_length=row_length, seed=0, microbatches=microbatches)
        state = one_device.device_put(init_state(jax.tree.map(jnp.copy, params), optax.sgd(1.0)))
        after, metrics = step(state, stream[0])
        results.append((np.asarray(after.params["logits"][0]), float(metrics["loss"])))
    assert np.abs(results[0][0] - np.asarray(params["logits"])).max() > 1e-3
    for logits, loss in results[1:]:
        np.testing.assert_allclose(logits, results[0][0], atol=1e-6)
        assert loss == pytest.approx(results[0][1], rel=1e-5)


def test_the_first_step_has_the_ratio_one(toy):
    """The policy of the update is the policy that sampled."""
    learner = make_learner(toy, algorithm(toy, "ppo", samples=8, clip=0.2))
    state = learner.layout.device_put(init_state(toy.params(), optax.sgd(1.0)))
    metrics = learner.run(state, toy.beta, *toy.prompts(), 0).metrics
    assert metrics["ratio"] == pytest.approx(1, abs=1e-6)
    assert metrics["approxkl"] == pytest.approx(0, abs=1e-9)
    assert metrics["pg_clipfrac"] == 0
    assert metrics["sampler_gap"] < 1e-6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"normalization": "mean"}, "loss.normalization"),
        ({"clip": -0.1}, "loss.clip must not be negative"),
        ({"clip": 1.0}, "loss.clip must be below 1"),
        ({"value_coef": float("nan")}, "loss.value_coef"),
        ({"max_response": 0}, "loss.max_response"),
    ],
)
def test_settings_out_of_range(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        PolicyLossConfig(**changes)
