"""Expected gradient of the KL penalty at every place, against the gradient of the exact KL divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import algorithm, expected_gradient, moved, relative_error
from toy import Toy

from rmjax.errors import InputError
from rmjax.rlhf.kl import WRONG, KLConfig, k2, k3
from rmjax.rlhf.rewards import RewardTerm


def nothing(rollout):
    return np.zeros(rollout.mask_NxT.shape, np.float32)


def penalty_gradient(toy, params, **kl):
    """Returns the expected gradient of the loss if its only term is a KL penalty with coefficient 1."""
    config = algorithm(toy, "ppo", kl=KLConfig(coef=1.0, **kl))
    return expected_gradient(toy, config, params, rewards=[RewardTerm("nothing", nothing)])


def in_reward(toy, params, estimator):
    """Σ_y π(y) Σ_t ∇log π_t · (sum of the estimator over the tokens from t on), by autodiff of a NumPy weight."""
    logits = params["logits"]
    log_p, ref = (np.asarray(jax.nn.log_softmax(x)) for x in (logits, jnp.asarray(toy.reference, jnp.float32)))
    pick = (slice(None), toy.state, toy.action)
    per_token = np.where(toy.mask[None], np.asarray(estimator(log_p[pick], ref[pick])), 0)
    later = np.cumsum(per_token[..., ::-1], -1)[..., ::-1]
    weight = np.where(toy.mask[None], np.exp(np.asarray(toy.logprobs(logits)))[..., None] * later, 0) / len(log_p)
    return np.asarray(jax.grad(lambda x: jnp.sum(weight * jax.nn.log_softmax(x)[pick]))(logits))


def frozen_prefixes(toy, params, direction):
    """The gradient of Σ_t KL_t with the distribution of the prefixes held constant."""
    logits = params["logits"]
    probability = np.exp(np.asarray(toy.logprobs(logits)))
    visits = np.zeros(logits.shape[:2], np.float32)
    for y in range(len(toy.responses)):
        for t in range(toy.mask[y].sum()):
            visits[:, toy.state[y, t]] += probability[:, y]

    def total(x):
        p, q = jax.nn.log_softmax(x), jax.nn.log_softmax(jnp.asarray(toy.reference, jnp.float32))
        kl = jnp.sum(jnp.exp(p) * (p - q), -1) if direction == "reverse" else jnp.sum(jnp.exp(q) * (q - p), -1)
        return jnp.mean(jnp.sum(visits * kl, 1))

    return np.asarray(jax.grad(total)(logits))


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture(scope="module")
def params(toy):
    return moved(toy, toy.params())


@pytest.fixture(scope="module")
def exact(toy, params):
    return np.asarray(jax.grad(toy.kl)(params["logits"]))


def test_k1_in_the_reward_has_the_gradient_of_the_reverse_kl(toy, params, exact):
    assert relative_error(penalty_gradient(toy, params), exact) < 1e-5


def test_k2_in_the_loss_has_it_for_responses_of_one_token():
    toy = Toy(limit=1)
    params = moved(toy, toy.params())
    exact = np.asarray(jax.grad(toy.kl)(params["logits"]))
    gradient = penalty_gradient(toy, params, placement="loss", estimator="k2")
    assert relative_error(gradient, exact) < 1e-5


def test_k2_in_the_loss_ignores_the_tokens_after(toy, params, exact):
    """The whole error is that of the prefixes: 33 % of the gradient in this toy."""
    gradient = penalty_gradient(toy, params, placement="loss", estimator="k2")
    assert relative_error(gradient, frozen_prefixes(toy, params, "reverse")) < 1e-5
    assert relative_error(gradient, exact) == pytest.approx(0.333, abs=0.005)


def test_k3_in_the_loss_has_the_gradient_of_the_forward_kl(toy, params, exact):
    """That is off by 37 % in this toy."""
    gradient = penalty_gradient(toy, params, placement="loss", estimator="k3")
    assert relative_error(gradient, frozen_prefixes(toy, params, "forward")) < 1e-5
    assert relative_error(gradient, exact) == pytest.approx(0.372, abs=0.005)


def test_refused_places_have_wrong_gradients(toy):
    """k1 in the loss: 0. k2 and k3 in the reward: of second order, so their share falls as the policy comes near."""
    for size, bound in ((0.3, 0.35), (0.03, 0.035)):
        params = moved(toy, toy.params(), size=size)
        exact = np.asarray(jax.grad(toy.kl)(params["logits"]))
        for estimator in (k2, k3):
            share = np.linalg.norm(in_reward(toy, params, estimator)) / np.linalg.norm(exact)
            assert share < bound
    _, probability_N = toy.enumerated(params)
    k1_in_loss = np.asarray(
        jax.grad(lambda x: jnp.sum(jnp.asarray(probability_N, jnp.float32) * toy.logprobs(x).reshape(-1)))(
            params["logits"]
        )
    )
    assert np.linalg.norm(k1_in_loss) < 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize(("placement", "estimator"), list(WRONG))
def test_places_with_a_wrong_gradient_are_refused(placement, estimator):
    with pytest.raises(InputError, match=r"is 0.*set kl.placement=reward with kl.estimator=k1"):
        KLConfig(placement=placement, estimator=estimator)


def test_biased_places_are_named():
    assert KLConfig().bias == ""
    assert "tokens after it" in KLConfig(placement="loss", estimator="k2").bias
    assert "forward" in KLConfig(placement="loss", estimator="k3").bias
    assert KLConfig(placement="loss", estimator="k3", coef=0.0).bias == ""
