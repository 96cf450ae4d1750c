"""Losses against float64 NumPy oracles, hand arithmetic, limits, symmetries and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmjax.data.comparisons import STRENGTHS
from rmjax.training import losses

GAPS = np.array([-30.0, -4.0, -1.0, -0.25, 0.0, 0.5, 1.0, 3.0, 20.0])
EXTREME = np.array([-1e4, -200.0, 200.0, 1e4])
THRESHOLDS = (1e-3, 0.1, 0.7, 3.0)


def f32(values):
    return jnp.asarray(values, jnp.float32)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def naive_bradley_terry(gap, margin=0.0, smoothing=0.0):
    return -(1 - smoothing) * np.log(sigmoid(gap - margin)) - smoothing * np.log(sigmoid(-gap - margin))


def naive_rao_kupper(gap, outcome, eta):
    """The formula of the paper, with strengths p = e^gap against 1 and theta = e^eta."""
    p, theta = np.exp(np.asarray(gap, np.float64)), np.exp(eta)
    probability = {
        "win": p / (p + theta),
        "lose": 1 / (1 + theta * p),
        "tie": p * (theta**2 - 1) / ((p + theta) * (1 + theta * p)),
    }
    return -np.log(probability[outcome])


def finite_difference(function, x, step=1e-5):
    return (function(x + step) - function(x - step)) / (2 * step)


def gradient(loss, gap):
    return np.asarray(jax.jit(jax.grad(lambda g: jnp.sum(loss(g))))(f32(gap)))


def naive_safety_classification(score, unsafe):
    return -np.log(sigmoid(-score if unsafe else score))


CASES = {
    "plain": (lambda g: losses.bradley_terry(g), lambda g: naive_bradley_terry(g)),
    "margin": (lambda g: losses.bradley_terry(g, margin=0.6), lambda g: naive_bradley_terry(g, 0.6)),
    "smoothed": (
        lambda g: losses.bradley_terry(g, margin=0.6, label_smoothing=0.2),
        lambda g: naive_bradley_terry(g, 0.6, 0.2),
    ),
    "tied_half": (losses.tied_half, lambda g: naive_bradley_terry(g, 0.0, 0.5)),
    "win": (
        lambda g: losses.rao_kupper(g, jnp.zeros(g.shape, bool), threshold=0.7),
        lambda g: naive_rao_kupper(g, "win", 0.7),
    ),
    "tie": (
        lambda g: losses.rao_kupper(g, jnp.ones(g.shape, bool), threshold=0.7),
        lambda g: naive_rao_kupper(g, "tie", 0.7),
    ),
    "safe": (
        lambda r: losses.safety_classification(r, jnp.zeros(r.shape, bool)),
        lambda r: naive_safety_classification(r, False),
    ),
    "unsafe": (
        lambda r: losses.safety_classification(r, jnp.ones(r.shape, bool)),
        lambda r: naive_safety_classification(r, True),
    ),
    "won": (
        lambda r: losses.classification(r, jnp.zeros(r.shape)),
        lambda r: -0.5 * np.log(sigmoid(r)) - 0.5 * np.log(0.5),
    ),
    "lost": (
        lambda r: losses.classification(jnp.zeros(r.shape), r),
        lambda r: -0.5 * np.log(0.5) - 0.5 * np.log(sigmoid(-r)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_match_the_float64_oracle(case):
    loss, oracle = CASES[case]
    value = loss(f32(GAPS))
    assert value.shape == GAPS.shape
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, oracle(GAPS), rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(gradient(loss, GAPS), finite_difference(oracle, GAPS), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_extreme_gaps_keep_values_and_gradients_finite(case):
    loss, _ = CASES[case]
    value, slope = np.asarray(loss(f32(EXTREME))), gradient(loss, EXTREME)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    limits = {"smoothed": (-0.8, 0.2), "tied_half": (-0.5, 0.5), "tie": (-1, 1), "unsafe": (0, 1)}
    limits |= {"won": (-0.5, 0), "lost": (0, 0.5)}
    low, high = limits.get(case, (-1, 0))
    np.testing.assert_allclose(slope, [low, low, high, high], atol=1e-6)


def test_by_hand():
    # sigmoid(log 3) = 3/4, so the loss is log 4/3, and log 4 for the reversed pair.
    gap = f32([np.log(3.0), -np.log(3.0), 0.0])
    np.testing.assert_allclose(losses.bradley_terry(gap), np.log([4 / 3, 4, 2]), rtol=1e-6)
    np.testing.assert_allclose(losses.bradley_terry(gap, margin=np.log(3.0).item())[0], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(
        losses.bradley_terry(gap, label_smoothing=0.25)[0], 0.75 * np.log(4 / 3) + 0.25 * np.log(4), rtol=1e-6
    )
    # theta = 2, equal scores: win 1/3, lose 1/3, tie 1/3.
    thirds = losses.rao_kupper(f32([0.0, 0.0]), jnp.array([False, True]), threshold=np.log(2.0).item())
    np.testing.assert_allclose(thirds, np.log([3, 3]), rtol=1e-6)
    np.testing.assert_allclose(losses.centering(f32([2.0, 1.0]), f32([1.0, -1.0])), [9.0, 0.0])
    # P(safe) = 3/4, of a safe response and of an unsafe one.
    safety = losses.safety_classification(f32([np.log(3.0)] * 2), jnp.array([False, True]))
    np.testing.assert_allclose(safety, np.log([4 / 3, 4]), rtol=1e-6)
    np.testing.assert_allclose(losses.squared_error(f32([2.0, -1.0]), f32([0.5, -1.0])), [2.25, 0.0])


def test_a_margin_may_differ_from_pair_to_pair():
    margin = np.array([0.0, 1 / 3, 2 / 3, 1.0, 3.0])
    loss = losses.bradley_terry(f32(np.ones(5)), margin=f32(margin))
    np.testing.assert_allclose(loss, naive_bradley_terry(1.0, margin), rtol=1e-6)


def test_smoothing_is_the_expectation_over_flipped_labels():
    kept = losses.bradley_terry(f32(GAPS), margin=0.5)
    flipped = losses.bradley_terry(f32(-GAPS), margin=0.5)
    smoothed = losses.bradley_terry(f32(GAPS), margin=0.5, label_smoothing=0.1)
    np.testing.assert_allclose(smoothed, 0.9 * kept + 0.1 * flipped, rtol=1e-6)


def test_a_label_without_information_pulls_the_gap_to_zero_for_any_margin():
    loss = functools.partial(losses.bradley_terry, margin=2.0, label_smoothing=0.5)
    np.testing.assert_allclose(loss(f32(GAPS)), loss(f32(-GAPS)), rtol=1e-6)
    assert gradient(loss, [0.0])[0] == 0.0
    assert gradient(loss, [0.5])[0] > 0.0


def test_the_smoothed_loss_is_lowest_where_the_model_is_as_sure_as_the_label():
    gap = np.log(0.9 / 0.1)
    slope = gradient(lambda g: losses.bradley_terry(g, label_smoothing=0.1), [gap - 0.1, gap, gap + 0.1])
    assert slope[0] < 0 < slope[2]
    assert abs(slope[1]) < 1e-6


def test_a_tie_has_no_direction():
    tied = jnp.ones(GAPS.shape, bool)
    for loss in (losses.tied_half, lambda g: losses.rao_kupper(g, tied, threshold=0.4)):
        np.testing.assert_allclose(loss(f32(GAPS)), loss(f32(-GAPS)), rtol=1e-6)
        assert np.argmin(loss(f32(GAPS))) == np.flatnonzero(GAPS == 0)[0]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_rao_kupper_probabilities_sum_to_one(threshold):
    won, tied = jnp.zeros(GAPS.shape, bool), jnp.ones(GAPS.shape, bool)
    win = np.exp(-losses.rao_kupper(f32(GAPS), won, threshold=threshold))
    lose = np.exp(-losses.rao_kupper(f32(-GAPS), won, threshold=threshold))
    tie = np.exp(-losses.rao_kupper(f32(GAPS), tied, threshold=threshold))
    np.testing.assert_allclose(win + lose + tie, 1.0, atol=2e-6)


def test_rao_kupper_with_a_tiny_threshold_is_bradley_terry():
    won = jnp.zeros(GAPS.shape, bool)
    loss = losses.rao_kupper(f32(GAPS), won, threshold=1e-7)
    np.testing.assert_allclose(loss, losses.bradley_terry(f32(GAPS)), rtol=1e-5)


def test_rao_kupper_threshold_can_be_learnt_and_may_be_large():
    def loss(threshold):
        return jnp.sum(losses.rao_kupper(f32([1.0, 0.5]), jnp.array([False, True]), threshold=threshold))

    def oracle(eta):
        return naive_rao_kupper(1.0, "win", eta) + naive_rao_kupper(0.5, "tie", eta)

    np.testing.assert_allclose(jax.grad(loss)(f32(0.7)), finite_difference(oracle, 0.7), rtol=1e-4)
    assert np.isfinite(loss(f32(500.0)))  # e^{2η} is far above the largest float32


@pytest.mark.parametrize("threshold", [0, -0.1, float("nan"), float("inf")])
def test_rao_kupper_refuses_a_threshold_that_is_not_positive(threshold):
    with pytest.raises(ValueError, match="threshold"):
        losses.rao_kupper(f32([0.0]), jnp.array([True]), threshold=threshold)


def test_the_safety_loss_is_lowest_where_the_score_is_the_logit_of_safe():
    """Of responses with the same score, three in four are safe."""
    unsafe = jnp.array([False, False, False, True])
    slope = gradient(lambda r: losses.safety_classification(jnp.broadcast_to(r, (4,)), unsafe), [np.log(3.0)])
    assert abs(slope[0]) < 1e-6


def test_margins_are_those_of_llama_2():
    assert all(tuple(grades) == STRENGTHS for grades in losses.MARGINS.values())
    assert tuple(losses.MARGINS["small"].values()) == (1.0, 2 / 3, 1 / 3, 0.0)
    assert tuple(losses.MARGINS["large"].values()) == (3.0, 2.0, 1.0, 0.0)
    assert set(losses.MARGINS["none"].values()) == {0.0}
    assert set(losses.MARGINS) == {"none", "small", "large"}
