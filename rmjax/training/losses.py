"""Losses of reward models, one number per pair or response: pure functions of float32 scores.

`gap_P` is score_winner - score_loser. The caller applies masks, weights, means and coefficients. Logarithms of
probabilities are computed by `log_sigmoid`, never as the logarithm of a sigmoid, so that values and gradients are
finite at any finite gap.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rmjax.data.batch import AnyArray
from rmjax.data.comparisons import STRENGTHS

MARGINS = {
    "none": dict.fromkeys(STRENGTHS, 0.0),
    "small": dict(zip(STRENGTHS, (1.0, 2 / 3, 1 / 3, 0.0), strict=True)),
    "large": dict(zip(STRENGTHS, (3.0, 2.0, 1.0, 0.0), strict=True)),
}
"""The margin of each strength. Source: Llama 2 (2307.09288), table 27."""


def bradley_terry(
    gap_P: jax.Array, *, margin: AnyArray | float = 0.0, label_smoothing: jax.Array | float = 0.0
) -> jax.Array:
    """-(1 - e) log σ(gap - m) - e log σ(-gap - m), with margin m >= 0 and label smoothing e in [0, 1/2].

    Margin and smoothing combine as an expectation: with probability e the label is flipped, and a flipped label has the
    same margin in favour of the other response. So the margin favours neither response: at e = 1/2 the label carries
    no information, and the loss is even in the gap with its minimum at 0. With σ(±(gap - m)) in both terms instead, the
    minimum would still be at gap m.

    Args:
        gap_P: score of the winner minus score of the loser.
        margin: one number for all pairs, or margin_P.
        label_smoothing: one number for all pairs, or label_smoothing_P.

    Returns:
        loss_P in nats; log 2 at gap 0 without margin.

    Example:
        Odds of 3 to 1 for the winner cost log(4/3), and for the loser log(4).

        >>> [round(float(bradley_terry(jnp.log(odds))), 4) for odds in (3.0, 1.0, 1 / 3)]
        [0.2877, 0.6931, 1.3863]
        >>> round(float(bradley_terry(jnp.array(1.0), margin=1.0)), 4)
        0.6931

    Source: Bradley & Terry (1952); margin: Llama 2 (2307.09288), equation 2; smoothing: Szegedy et al. (1512.00567),
    for pairs the conservative loss of Mitchell (2023), https://ericmitchell.ai/cdpo.pdf.
    """
    kept_P = jax.nn.log_sigmoid(gap_P - margin)
    flipped_P = jax.nn.log_sigmoid(-gap_P - margin)
    return -(1.0 - label_smoothing) * kept_P - label_smoothing * flipped_P


def tied_half(gap_P: jax.Array) -> jax.Array:
    """-1/2 log σ(gap) - 1/2 log σ(-gap): a tie as half a win for each response. Even in the gap, log 2 at 0.

    Example:
        >>> [round(float(tied_half(jnp.array(gap))), 4) for gap in (-2.0, 0.0, 2.0)]
        [1.1269, 0.6931, 1.1269]

    Source: the usual convention for draws in Bradley-Terry fits and Elo ratings (Elo, 1978).
    """
    return bradley_terry(gap_P, label_smoothing=0.5)


def rao_kupper(gap_P: jax.Array, tied_P: AnyArray, *, threshold: jax.Array | float) -> jax.Array:
    """-log P(judgement), with a tie as a third outcome.

    P(win) = σ(gap - η), P(lose) = σ(-gap - η), P(tie) = (e^{2η} - 1) σ(gap - η) σ(-gap - η); the three sum to 1.
    The threshold η = log θ > 0 is the gap below which raters hardly see a difference; η -> 0 is Bradley-Terry.

    Args:
        gap_P: score of the winner minus score of the loser; the loss of a tied pair does not depend on its sign.
        tied_P: bool.
        threshold: η, a number > 0 or a scalar array; gradients flow through it.

    Returns:
        loss_P in nats.

    Raises:
        ValueError: the threshold is a number, but not finite and > 0.

    Example:
        With η = log 2 and equal scores, win, loss and tie have the probability 1/3 each: a loss of log(3).

        >>> loss_P = rao_kupper(jnp.zeros(2), jnp.array([False, True]), threshold=math.log(2))
        >>> [round(loss, 4) for loss in loss_P.tolist()]
        [1.0986, 1.0986]

    Source: Rao & Kupper (1967), Ties in paired-comparison experiments.
    """
    if isinstance(threshold, (int, float)) and not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"the threshold of a tie must be a finite number > 0, found {threshold}")
    win_P = jax.nn.log_sigmoid(gap_P - threshold)
    lose_P = jax.nn.log_sigmoid(-gap_P - threshold)
    # log(e^{2η} - 1), written so that e^{2η} cannot overflow.
    log_expm1 = 2.0 * threshold + jnp.log(-jnp.expm1(-2.0 * threshold))
    return -jnp.where(tied_P, log_expm1 + win_P + lose_P, win_P)


def centering(score_winner_P: jax.Array, score_loser_P: jax.Array) -> jax.Array:
    """(r_winner + r_loser)²: fixes the constant per prompt that a ranking loss leaves free.

    Example:
        >>> centering(jnp.array([2.0, 1.0]), jnp.array([1.0, -1.0])).tolist()
        [9.0, 0.0]

    Source: Eisenstein et al. (2312.09244), coefficient 0.01.
    """
    return jnp.square(score_winner_P + score_loser_P)


def safety_classification(score_N: jax.Array, unsafe_N: AnyArray) -> jax.Array:
    """-log σ(r) of a safe response, -log σ(-r) of an unsafe one: the score is the logit of "safe".

    Added to a ranking loss, it fixes the constant per prompt that the ranking leaves free. Then r < 0 classifies a
    response as unsafe, and σ(r) of the raw score is P(safe), as far as the gaps of the ranking allow.

    Args:
        score_N: score of each response.
        unsafe_N: bool.

    Returns:
        loss_N in nats; log 2 at score 0.

    Example:
        P(safe) = σ(log 3) = 3/4: a safe response costs log(4/3), an unsafe one log(4).

        >>> loss_N = safety_classification(jnp.log(jnp.array([3.0, 3.0])), jnp.array([False, True]))
        >>> [round(loss, 4) for loss in loss_N.tolist()]
        [0.2877, 1.3863]

    Source: the auxiliary safety loss of Llama 2 (2307.09288, appendix), which raised the recall of unsafe responses
    of the safety reward model. The paper states no formula; this is the usual binary cross-entropy, whose threshold is
    a probability of 1/2.
    """
    return -jax.nn.log_sigmoid(jnp.where(unsafe_N, -score_N, score_N))


def classification(score_winner_P: jax.Array, score_loser_P: jax.Array) -> jax.Array:
    """-1/2 log σ(r_winner) - 1/2 log σ(-r_loser): the score is the logit of "preferred".

    Each response is classified by itself. The difference of two scores orders the responses as Bradley-Terry does, but
    it is not their log odds.

    Returns:
        loss_P in nats; log 2 if both scores are 0.

    Example:
        A winner with P(preferred) = σ(log 3) = 3/4 costs log(4/3) / 2, and a loser with it log(4) / 2.

        >>> score = jnp.log(3.0)
        >>> round(float(classification(score, score)), 4), round(math.log(4 / 3) / 2 + math.log(4) / 2, 4)
        (0.837, 0.837)

    Source: Sun et al. (2411.04991), section 4.
    """
    return -0.5 * (jax.nn.log_sigmoid(score_winner_P) + jax.nn.log_sigmoid(-score_loser_P))


def squared_error(score_N: jax.Array, rating_N: AnyArray) -> jax.Array:
    """(r - rating)²: regression on absolute ratings, in their squared unit.

    Example:
        >>> squared_error(jnp.array([2.0, -1.0]), jnp.array([0.5, -1.0])).tolist()
        [2.25, 0.0]

    Source: as in HelpSteer2, Wang et al. (2406.08673).
    """
    return jnp.square(score_N - rating_N)
