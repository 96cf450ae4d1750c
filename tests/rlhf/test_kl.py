"""KL estimators and the adaptive coefficient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.rlhf.kl import KLConfig, estimate_kl, exact_kl, k1, k2, k3, next_coefficient


@pytest.fixture
def two_distributions():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(2, 7)), jnp.float32)


def test_k1_and_k3_are_unbiased_and_k2_is_not(two_distributions):
    log_p, log_q = jax.nn.log_softmax(two_distributions)
    exact = float(exact_kl(*two_distributions))
    assert exact == pytest.approx(float(np.sum(np.exp(log_p) * np.asarray(log_p - log_q))), rel=1e-6)
    expectation = [float(jnp.sum(jnp.exp(log_p) * estimator(log_p, log_q))) for estimator in (k1, k2, k3)]
    assert expectation[0] == pytest.approx(exact, rel=1e-5)
    assert expectation[2] == pytest.approx(exact, rel=1e-5)
    assert abs(expectation[1] - exact) > 0.01


def test_the_exact_divergence_is_zero_at_the_reference_and_never_negative(two_distributions):
    p, q = two_distributions
    assert float(exact_kl(p, p)) == pytest.approx(0, abs=1e-6)
    assert float(exact_kl(p, q)) > 0


def test_the_estimate_has_the_standard_error_of_response_sums():
    rng = np.random.default_rng(1)
    logprob, ref, mask = rng.normal(size=(50, 4)), rng.normal(size=(50, 4)), rng.random((50, 4)) < 0.7
    sums = [sum((logprob - ref)[n, t] for t in range(4) if mask[n, t]) for n in range(50)]
    found = estimate_kl(logprob, np.where(mask, ref, np.nan), mask)
    assert found.mean == pytest.approx(np.mean(sums))
    assert found.error == pytest.approx(np.std(sums, ddof=1) / math.sqrt(50))


def test_the_coefficient_moves_toward_the_target():
    config = KLConfig(coef=0.1, target=4.0, horizon=100)
    assert next_coefficient(config, 0.1, 4.0, 10) == pytest.approx(0.1)
    assert next_coefficient(config, 0.1, 4.4, 10) == pytest.approx(0.1 * (1 + 0.1 * 0.1))
    assert next_coefficient(config, 0.1, 400.0, 10) == pytest.approx(0.1 * (1 + 0.2 * 0.1))
    assert next_coefficient(config, 0.1, 0.0, 10) == pytest.approx(0.1 * (1 - 0.2 * 0.1))


def test_a_controlled_divergence_comes_to_its_target():
    """A system whose divergence is 1 / coef needs the coefficient 1 / target."""
    config = KLConfig(coef=0.05, target=6.0, horizon=500)
    coef = config.coef
    for _ in range(200):
        coef = next_coefficient(config, coef, 1 / coef, 64)
    assert 1 / coef == pytest.approx(6.0, rel=1e-3)


def test_a_horizon_that_could_make_the_coefficient_negative_is_refused():
    """At a horizon of a fifth of the responses, a divergence of 0 would make it 0 for ever."""
    assert next_coefficient(KLConfig(coef=0.1, target=6.0, horizon=26), 0.1, 0.0, 128) > 0
    with pytest.raises(InputError, match="horizon=25 is too short for 128 responses an iteration: set it above 26"):
        next_coefficient(KLConfig(coef=0.1, target=6.0, horizon=25), 0.1, 0.0, 128)


def test_a_fixed_coefficient_stays():
    assert next_coefficient(KLConfig(coef=0.05), 0.05, 100.0, 64) == 0.05


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"coef": -1.0}, "kl.coef"),
        ({"placement": "value"}, "kl.placement"),
        ({"estimator": "k4"}, "kl.estimator"),
        ({"target": -1.0}, "kl.target"),
        ({"horizon": 0}, "kl.horizon"),
        ({"target": 6.0, "coef": 0.0}, "positive kl.coef"),
        ({"target": 6.0, "placement": "loss", "estimator": "k2"}, "kl.placement=reward"),
    ],
)
def test_settings_out_of_range(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        KLConfig(**changes)
