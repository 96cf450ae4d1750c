"""Ranking losses, one number per pair: pure functions of float32 scores. Masks, weights and means are the caller's.

`gap_P` is score_winner - score_loser. Logarithms of probabilities come from `log_sigmoid`, never from the logarithm of
a sigmoid, so values and gradients stay finite at any finite gap.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rmjax.data.comparisons import STRENGTHS

MARGINS = {
    "none": dict.fromkeys(STRENGTHS, 0.0),
    "small": dict(zip(STRENGTHS, (1.0, 2 / 3, 1 / 3, 0.0), strict=True)),
    "large": dict(zip(STRENGTHS, (3.0, 2.0, 1.0, 0.0), strict=True)),
}
"""The margin that each strength asks for. Source: Llama 2 (2307.09288), table 27."""


def bradley_terry(
    gap_P: jax.Array, *, margin: jax.Array | float = 0.0, label_smoothing: jax.Array | float = 0.0
) -> jax.Array:
    """-(1 - e) log σ(gap - m) - e log σ(-gap - m), with margin m >= 0 and label smoothing e in [0, 1/2].

    Margin and smoothing combine as an expectation: with probability e the label is taken to be flipped, and a flipped
    label claims the same margin for the other response. So the margin never decides the direction: at e = 1/2, where
    the label says nothing, the loss is even in the gap and has its minimum at 0. Shifting both terms alike, to
    σ(±(gap - m)), would there still pull the gap to m.

    Args:
        gap_P: score of the winner less score of the loser.
        margin: one for all pairs or margin_P.
        label_smoothing: one for all pairs or label_smoothing_P.

    Returns:
        loss_P in nats; log 2 at gap 0 without margin.

    Source: Bradley & Terry (1952); margin: Llama 2 (2307.09288), equation 2; smoothing: Szegedy et al. (1512.00567),
    for pairs the conservative loss of Mitchell (2023), https://ericmitchell.ai/cdpo.pdf.
    """
    kept_P = jax.nn.log_sigmoid(gap_P - margin)
    flipped_P = jax.nn.log_sigmoid(-gap_P - margin)
    return -(1.0 - label_smoothing) * kept_P - label_smoothing * flipped_P


def tied_half(gap_P: jax.Array) -> jax.Array:
    """-1/2 log σ(gap) - 1/2 log σ(-gap): a tie as half a win for each side. Even in the gap, log 2 at 0.

    Source: the usual convention for draws in Bradley-Terry fits and Elo ratings (Elo, 1978).
    """
    return bradley_terry(gap_P, label_smoothing=0.5)


def rao_kupper(gap_P: jax.Array, tied_P: jax.Array, *, threshold: jax.Array | float) -> jax.Array:
    """-log of the probability of what was judged, where a tie is an outcome of its own.

    P(win) = σ(gap - η), P(lose) = σ(-gap - η), P(tie) = (e^{2η} - 1) σ(gap - η) σ(-gap - η); the three sum to 1.
    The threshold η = log θ > 0 is the gap below which raters hardly see a difference; η -> 0 is Bradley-Terry.

    Args:
        gap_P: score of the winner less score of the loser; its sign means nothing where tied.
        tied_P: bool.
        threshold: η, a number > 0 or a scalar array, through which gradients flow.

    Returns:
        loss_P in nats.

    Raises:
        ValueError: the threshold is a number but not a finite one > 0.

    Source: Rao & Kupper (1967), Ties in paired-comparison experiments.
    """
    if isinstance(threshold, (int, float)) and not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"the threshold of a tie must be a finite number > 0, found {threshold}")
    win_P = jax.nn.log_sigmoid(gap_P - threshold)
    lose_P = jax.nn.log_sigmoid(-gap_P - threshold)
    # log(e^{2η} - 1), written so that e^{2η} cannot overflow.
    log_expm1 = 2.0 * threshold + jnp.log(-jnp.expm1(-2.0 * threshold))
    return -jnp.where(tied_P, log_expm1 + win_P + lose_P, win_P)


def centring(score_winner_P: jax.Array, score_loser_P: jax.Array) -> jax.Array:
    """(r_winner + r_loser)²: ties down the constant per prompt that a ranking loss leaves free. Coefficient: caller's.

    Source: Eisenstein et al. (2312.09244), coefficient 0.01.
    """
    return jnp.square(score_winner_P + score_loser_P)


def safety_classification(score_N: jax.Array, unsafe_N: jax.Array) -> jax.Array:
    """-log σ(r) of a safe response, -log σ(-r) of an unsafe one, so the score is the logit of "safe".

    Beside a ranking loss it ties down the constant per prompt that the ranking leaves free: r < 0 calls a response
    unsafe, and σ(r) of the raw score is P(safe), as far as the gaps that the ranking asks for allow. Coefficient:
    caller's.

    Args:
        score_N: score of each response.
        unsafe_N: bool.

    Returns:
        loss_N in nats; log 2 at score 0.

    Source: the auxiliary safety loss of Llama 2 (2307.09288, appendix), which raised the recall of unsafe responses
    of the safety reward model. The paper states no formula; this one is the plain reading of a binary classification
    whose threshold is a probability of 1/2.
    """
    return -jax.nn.log_sigmoid(jnp.where(unsafe_N, -score_N, score_N))


def squared_error(score_N: jax.Array, rating_N: jax.Array) -> jax.Array:
    """(r - rating)²: regression on absolute ratings, in their squared unit.

    Source: as in HelpSteer2, Wang et al. (2406.08673).
    """
    return jnp.square(score_N - rating_N)
