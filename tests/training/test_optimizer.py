"""The schedule by hand, weight decay, clipping, and settings that are refused."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.training.optimizer import OptimizerConfig, decayed, make_optimizer, make_schedule

STEPS = 100
GOOD = {
    "learning_rate": 1e-2,
    "warmup_ratio": 0.1,
    "warmup_steps": 0,
    "final_ratio": 0.1,
    "b1": 0.9,
    "b2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "moment_dtype": "float32",
}


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax mixes dtypes in its own arithmetic."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def config(**changes):
    return OptimizerConfig(**{**GOOD, **changes})


def rates(total_steps=STEPS, **changes):
    schedule = make_schedule(config(**changes), total_steps)
    return [float(schedule(step)) for step in range(total_steps)]


def test_the_rate_rises_to_its_peak_and_ends_at_its_final_ratio():
    rate = rates()
    assert rate[0] == pytest.approx(1e-2 / 11, rel=1e-5)
    assert rate[4] == pytest.approx(1e-2 * 5 / 11, rel=1e-5)
    assert rate[10] == pytest.approx(1e-2, rel=1e-5)
    assert max(rate) == rate[10]
    assert rate[99] == pytest.approx(1e-3, rel=1e-5)
    assert all(a > b for a, b in itertools.pairwise(rate[10:]))


def test_between_peak_and_end_it_follows_a_cosine():
    rate = rates()
    for step in (30, 55, 80):
        share = (step - 10) / 89
        assert rate[step] == pytest.approx(1e-2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share))), rel=1e-4)


def test_warm_up_takes_at_least_its_steps_and_at_most_half_the_run():
    assert rates(warmup_ratio=0.03, warmup_steps=5).index(pytest.approx(1e-2, rel=1e-6)) == 5
    assert np.argmax(rates(total_steps=8, warmup_steps=50)) == 4


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert rates(warmup_ratio=0.0)[0] == pytest.approx(1e-2, rel=1e-6)
    assert rates(total_steps=1, warmup_ratio=0.5, warmup_steps=9) == [pytest.approx(1e-2, rel=1e-6)]


def params():
    return {"norm": {"scale": jnp.ones(3)}, "dense": {"kernel": jnp.ones((3, 2))}, "reward": {"helpful": jnp.ones(3)}}


def test_everything_decays_but_the_scales_of_norms():
    assert decayed(params()) == {"norm": {"scale": False}, "dense": {"kernel": True}, "reward": {"helpful": True}}
    optimizer, schedule = make_optimizer(config(**{"weight_decay": 0.5}), STEPS)
    zeros = jax.tree.map(jnp.zeros_like, params())
    updates, _ = optimizer.update(zeros, optimizer.init(params()), params())
    assert not updates["norm"]["scale"].any()
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.5 * float(schedule(0)), rtol=1e-5)
    np.testing.assert_allclose(updates["reward"]["helpful"], -0.5 * float(schedule(0)), rtol=1e-5)


def test_the_first_step_of_adam_goes_against_the_sign_at_the_scheduled_rate():
    optimizer, schedule = make_optimizer(config(), STEPS)
    gradient = jax.tree.map(lambda x: -3.0 * x, params())
    updates, _ = optimizer.update(gradient, optimizer.init(params()), params())
    for update in jax.tree.leaves(updates):
        np.testing.assert_allclose(update, float(schedule(0)), rtol=1e-4)


def test_the_global_norm_is_clipped_before_the_moments():
    """A gradient 1000 times too long gives the moments that one of length clip_norm would."""
    optimizer, _ = make_optimizer(config(**{"clip_norm": 2.0}), STEPS)
    ones = params()
    length = math.sqrt(sum(x.size for x in jax.tree.leaves(ones)))
    long, short = (jax.tree.map(lambda x, f=f: f * x, ones) for f in (2000 / length, 2 / length))
    moments = [optimizer.update(g, optimizer.init(ones), ones)[1] for g in (long, short)]
    for a, b in zip(*map(jax.tree.leaves, moments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    half = jax.tree.map(lambda x: 0.5 * x, short)
    below = optimizer.update(half, optimizer.init(ones), ones)[1]
    assert not np.allclose(jax.tree.leaves(below)[1], jax.tree.leaves(moments[1])[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_ratio", 0.6),
        ("warmup_ratio", -0.1),
        ("warmup_steps", -1),
        ("final_ratio", 1.5),
        ("final_ratio", -0.1),
        ("b1", 1.0),
        ("b2", -0.1),
        ("eps", 0.0),
        ("weight_decay", -1e-3),
        ("clip_norm", 0.0),
    ],
)
def test_a_setting_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=f"{name}={value} is out of range"):
        config(**{name: value})


def steps(moment_dtype, count):
    """Parameters and state after `count` updates with made-up gradients."""
    optimizer, _ = make_optimizer(config(**{"moment_dtype": moment_dtype}), STEPS)
    params = {"kernel": jnp.ones((4, 4))}
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(0), count):
        updates, state = optimizer.update({"kernel": jax.random.normal(key, (4, 4))}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params["kernel"], state


def test_moments_in_bfloat16_take_half_the_memory_and_nearly_the_same_steps():
    wide, wide_state = steps("float32", 30)
    narrow, narrow_state = steps("bfloat16", 30)
    moved = np.abs(np.asarray(wide) - 1).max()
    assert 0 < np.abs(np.asarray(narrow - wide)).max() < 0.02 * moved
    here, there = jax.tree.leaves(narrow_state), jax.tree.leaves(wide_state)
    assert [x.dtype for x in here if x.ndim] == [jnp.bfloat16] * 2
    assert [x.dtype for x in there if x.ndim] == [jnp.float32] * 2
    assert [x.dtype for x in here if not x.ndim] == [x.dtype for x in there if not x.ndim]  # counts stay whole numbers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moment_dtype": "float16"}, "moment_dtype must be one of float32, bfloat16, found 'float16'"),
        ({"moment_dtype": "bfloat16", "b2": 0.999}, "b2=0.999: it needs at most 0.99"),
    ],
)
def test_moments_that_would_lose_their_steps_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        config(**changes)
