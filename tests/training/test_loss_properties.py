"""Properties of the losses on pairs at any scores: symmetry, invariance, and order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmjax.training.losses import bradley_terry, centering, rao_kupper, safety_classification, tied_half

FEW = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
SCORES = st.lists(st.integers(-800, 800).map(lambda n: n / 16), min_size=4, max_size=4)
MARGIN, SMOOTHING, ETA = 0.75, 0.2, 0.5
GAP_LOSSES = {
    "bradley_terry": bradley_terry,
    "margin": lambda gap: bradley_terry(gap, margin=MARGIN),
    "smoothing": lambda gap: bradley_terry(gap, label_smoothing=SMOOTHING),
    "both": lambda gap: bradley_terry(gap, margin=MARGIN, label_smoothing=SMOOTHING),
    "tied_half": tied_half,
    "rao_kupper": lambda gap: rao_kupper(gap, False, threshold=ETA),
    "rao_kupper tied": lambda gap: rao_kupper(gap, True, threshold=ETA),
}


def total_of(loss):
    """The compiled sum of a loss over pairs `[P, 2]`, with its gradient."""
    return jax.jit(jax.value_and_grad(lambda r: loss(r[:, 0] - r[:, 1]).sum()))


TOTAL = {name: total_of(loss) for name, loss in GAP_LOSSES.items()}


def of_pairs(loss, scores):
    """The loss of two pairs (winner, loser)."""
    r = jnp.asarray(scores, jnp.float32).reshape(2, 2)
    return loss(r[:, 0] - r[:, 1])


@pytest.mark.parametrize("name", GAP_LOSSES)
@FEW
@given(SCORES, st.integers(-100, 100))
def test_a_constant_added_to_both_scores_changes_nothing(name, scores, constant):
    shifted = [score + constant for score in scores]  # sixteenths: exact in float32
    np.testing.assert_array_equal(of_pairs(GAP_LOSSES[name], scores), of_pairs(GAP_LOSSES[name], shifted))


@pytest.mark.parametrize("name", GAP_LOSSES)
@FEW
@given(SCORES)
def test_loss_and_gradient_are_finite_and_the_gradients_of_a_pair_are_opposite(name, scores):
    value, gradient = TOTAL[name](jnp.asarray(scores, jnp.float32).reshape(2, 2))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[:, 0], -gradient[:, 1])


@FEW
@given(SCORES)
def test_the_odds_of_both_orders_are_opposite(scores):
    """-log σ(gap) + log σ(-gap) = -gap: antisymmetric."""
    gap = np.subtract(scores[::2], scores[1::2])
    odds = of_pairs(bradley_terry, scores[::-1])[::-1] - of_pairs(bradley_terry, scores)
    np.testing.assert_allclose(odds, gap, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", [tied_half, GAP_LOSSES["rao_kupper tied"]], ids=["tied_half", "rao_kupper"])
@FEW
@given(SCORES)
def test_a_tie_has_no_winner(loss, scores):
    np.testing.assert_allclose(of_pairs(loss, scores), of_pairs(loss, scores[::-1])[::-1], rtol=1e-6)


@pytest.mark.parametrize("name", ["bradley_terry", "margin", "rao_kupper"])
@FEW
@given(SCORES, st.integers(1, 50))
def test_a_wider_gap_never_costs_more(name, scores, more):
    wider = [scores[0] + more, scores[1], scores[2] + more, scores[3]]
    assert (of_pairs(GAP_LOSSES[name], wider) <= of_pairs(GAP_LOSSES[name], scores)).all()


@FEW
@given(SCORES)
def test_win_loss_and_tie_are_all_that_can_happen(scores):
    gap = np.subtract(scores[::2], scores[1::2]).astype(np.float32)
    outcomes = [rao_kupper(gap, False, threshold=ETA), rao_kupper(-gap, False, threshold=ETA)]
    outcomes.append(rao_kupper(gap, True, threshold=ETA))
    np.testing.assert_allclose(np.exp(-np.asarray(outcomes, np.float64)).sum(0), 1.0, rtol=2e-5)


@FEW
@given(SCORES)
def test_centering_and_safety_are_symmetric(scores):
    r = jnp.asarray(scores, jnp.float32)
    np.testing.assert_array_equal(centering(r[:2], r[2:]), centering(-r[2:], -r[:2]))
    unsafe = np.array([True, False, True, False])
    np.testing.assert_array_equal(safety_classification(r, unsafe), safety_classification(-r, ~unsafe))
