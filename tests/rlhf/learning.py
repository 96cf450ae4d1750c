"""Learners of the toy: runs of the real updates, and exact expectations of their gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from naive import one_bin

from rmjax.data.batch import BatchShape
from rmjax.parallel.layout import Pmap
from rmjax.rlhf.algorithm import AlgorithmConfig
from rmjax.rlhf.iteration import Learner
from rmjax.rlhf.kl import KLConfig
from rmjax.rlhf.policy import PolicyLossConfig, policy_objective
from rmjax.rlhf.rewards import RewardTerm, sparse
from rmjax.training.step import init_state


def algorithm(toy, name, *, clip=0.0, kl=None, lam=1.0, samples=64, **changes):
    """Settings without clipping, with the KL coefficient of the toy."""
    loss = PolicyLossConfig(clip=clip, value_clip=0.0, value_coef=1.0 if name == "ppo" else 0.0)
    return AlgorithmConfig(
        name=name, samples=samples, lam=lam, kl=kl or KLConfig(coef=toy.beta), **{"loss": loss, **changes}
    )


def make_learner(toy, config, optimizer=None, rewards=None, seed=0):
    layout = Pmap((jax.devices()[0],))
    learner = Learner(
        config,
        apply=toy.apply,
        reference=layout.device_put(toy.params()),
        optimizer=optimizer or optax.sgd(1.0),
        layout=layout,
        sample=toy.sampler(seed),
        decode=toy.decode,
        rewards=rewards or [RewardTerm("gold", sparse(toy.score))],
        seed=seed,
    )
    # Learners of one toy share what they have compiled.
    learner.forward = toy.compiled.setdefault("forward", learner.forward)
    return learner


def train(toy, config, *, iterations, rate, copies=4, rewards=None):
    """Runs iterations with Adam. Returns the parameters and the metrics of every iteration."""
    steps = iterations * config.epochs * config.minibatches
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps, 0.05))
    learner = make_learner(toy, config, optimizer, rewards)
    prompts, ids = toy.prompts(copies)
    metrics, coef = [], config.kl.coef
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        state = learner.layout.device_put(init_state(toy.params(), optimizer))
        for step in range(iterations):
            result = learner.run(state, coef, prompts, ids, step)
            state, coef = result.state, result.coef
            metrics.append(result.metrics)
    return learner.layout.unreplicate(state.params), metrics


def expected_gradient(toy, config, params, rewards=None, rollout=None, probability_N=None):
    """The gradient of the objective by the logits, in expectation over all responses."""
    learner = make_learner(toy, config, rewards=rewards)
    if rollout is None:
        rollout, probability_N = toy.enumerated(params)
    experience = learner.evaluate(learner.layout.device_put(params), rollout, config.kl.coef)
    groups = rollout.by_prompt(probability_N)
    examples = [
        dataclasses.replace(
            example,
            per_token={
                **example.per_token,
                "weight": tuple(
                    np.full(len(ids), p, np.float32) for ids, p in zip(example.responses, group, strict=True)
                ),
            },
        )
        for example, group in zip(experience.examples, groups, strict=True)
    ]
    tokens = sum(len(e.prompt) + sum(map(len, e.responses)) for e in examples)
    batch, _ = one_bin(examples, BatchShape(2, tokens, len(rollout), 8))
    objective = policy_objective(toy.apply, config.loss, config.kl)
    key = (config.loss, config.kl)
    if key not in toy.compiled:
        toy.compiled[key] = jax.jit(jax.grad(lambda params, batch: objective(params, batch)[0]))
    gradient = toy.compiled[key](params, batch)
    # Prompts are equally likely.
    return np.asarray(gradient["logits"]) / len(rollout.prompts)


def with_weights(example, weights):
    """The example with one weight for all tokens of each response."""
    arrays = tuple(np.full(len(ids), w, np.float32) for ids, w in zip(example.responses, weights, strict=True))
    return dataclasses.replace(example, per_token={**example.per_token, "weight": arrays})


def moved(toy, params, seed=1, size=0.5):
    """Parameters away from the reference, with arbitrary values."""
    rng = np.random.default_rng(seed)
    return {
        name: array + jnp.asarray(rng.normal(size=array.shape) * size, jnp.float32) for name, array in params.items()
    }


def relative_error(actual, expected):
    """|actual - expected| / |expected|."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
