"""What a step minimises: packed batch -> (sum of losses, sums to report).

Every objective has the form `loss_fn(params, batch) -> (numerator, sums)`, where `sums["weight"]` is the denominator.
The step adds both over microbatches and devices and divides once, so a loss is the same number on any layout.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.packing import PackedBatch
from rmjax.errors import InputError
from rmjax.training import losses

LossFn = Callable[[Any, PackedBatch], tuple[Array, dict[str, Array]]]

NAMES = ("bradley_terry", "squared_error")
TIES = ("skip", "half", "rao_kupper")


MARGINS = (*losses.MARGINS, "given")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Settings of the reward-model loss.

    Attributes:
        name: `bradley_terry` on pairs, or `squared_error` on absolute ratings (the baseline to compare with).
        margin: `none`, `small` or `large` for the Llama 2 margin of a pair's strength; `given` for the margins that the
            data state.
        label_smoothing: the share of labels assumed wrong, in [0, 0.5).
        ties: `skip` leaves tied pairs out, `half` counts each as half a win either way, `rao_kupper` models them.
        tie_threshold: eta > 0 of Rao-Kupper.
        center_coef: coefficient of (r_winner + r_loser)^2.
        safety_coef: coefficient of classifying responses as safe or unsafe by their score, where the data label them.
    """

    name: str = "bradley_terry"
    margin: str = "none"
    label_smoothing: float = 0.0
    ties: str = "skip"
    tie_threshold: float = 0.5
    center_coef: float = 0.0
    safety_coef: float = 0.0

    def __post_init__(self) -> None:
        for field, known in (("name", NAMES), ("margin", MARGINS), ("ties", TIES)):
            if getattr(self, field) not in known:
                raise InputError(f"{field} must be one of {', '.join(known)}, found {getattr(self, field)!r}")
        if not 0 <= self.label_smoothing < 0.5:
            raise InputError(f"label_smoothing must be in [0, 0.5), found {self.label_smoothing}")
        for field in ("center_coef", "safety_coef"):
            if not 0 <= getattr(self, field) < math.inf:
                raise InputError(f"{field} must not be negative, found {getattr(self, field)}")
        if self.ties == "rao_kupper" and not 0 < self.tie_threshold < math.inf:
            raise InputError(f"tie_threshold must be positive for ties=rao_kupper, found {self.tie_threshold}")
        if self.ties == "rao_kupper" and (self.label_smoothing or self.margin != "none"):
            raise InputError("ties=rao_kupper has its own likelihood: set label_smoothing=0 and margin=none")
        if self.name == "squared_error" and self.safety_coef:
            raise InputError("name=squared_error makes the score a rating, not the logit of safe: set safety_coef=0")
        if self.name == "squared_error" and (
            self.margin != "none" or self.label_smoothing or self.ties != "skip" or self.center_coef
        ):
            raise InputError(
                "name=squared_error uses no pairs: set margin=none, label_smoothing=0, ties=skip and center_coef=0"
            )


def ranking_objective(apply: Callable[[Any, PackedBatch], Array], config: LossConfig) -> LossFn:
    """Bradley-Terry on the pairs of a batch, each comparison weighing 1 whatever its K.

    The auxiliary term of a comparison is the mean over its K responses and shares its weight, so the loss is

        mean over comparisons of (ranking + auxiliary * classification),    classification = 0 without labels.

    What it weighs against the ranking of the same comparison is the coefficient, however many others have labels and
    however a batch is divided. A comparison without pairs, such as a tie that is left out, weighs nothing in either.

    `apply(params, batch)` gives scores `[N, Z]`. Reports `loss` (with every term), `accuracy` over untied pairs, where
    equal scores count half, `gap`, the mean of winner minus loser, and, if it has a coefficient, `auxiliary`, the mean
    classification over the comparisons with labels alone; 0 in a batch that has none.
    """

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        score_N = chosen_head(apply(params, batch), batch)
        winner, loser = score_N[batch.winner_P], score_N[batch.loser_P]
        gap = winner - loser
        if config.ties == "rao_kupper":
            loss = losses.rao_kupper(gap, batch.tied_P, threshold=config.tie_threshold)
        else:
            untied = losses.bradley_terry(gap, margin=batch.margin_P, label_smoothing=config.label_smoothing)
            loss = jnp.where(batch.tied_P, losses.tied_half(gap), untied)
        if config.center_coef:
            loss = loss + config.center_coef * losses.centring(winner, loser)
        numerator, reported = jnp.sum(batch.weight_P * loss), pair_sums(gap, batch)
        if config.safety_coef:
            auxiliary = jnp.sum(batch.safety_weight_N * losses.safety_classification(score_N, batch.unsafe_N))
            numerator = numerator + config.safety_coef * auxiliary
            reported |= {"auxiliary": auxiliary, "auxiliary_weight": jnp.sum(batch.safety_weight_N)}
        return numerator, {"weight": jnp.sum(batch.weight_P), "loss": numerator, **reported}

    return loss_fn


def rating_objective(apply: Callable[[Any, PackedBatch], Array]) -> LossFn:
    """Squared error on absolute ratings, averaged over responses: the baseline that ranking is compared against."""

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        score_N = chosen_head(apply(params, batch), batch)
        numerator = jnp.sum(batch.response_mask_N * losses.squared_error(score_N, batch.rating_N))
        gap = score_N[batch.winner_P] - score_N[batch.loser_P]
        return numerator, {"weight": jnp.sum(batch.response_mask_N), "loss": numerator, **pair_sums(gap, batch)}

    return loss_fn


def sft_objective(apply: Callable[[Any, PackedBatch], Array]) -> LossFn:
    """Next-token cross-entropy on the tokens of the responses, EOS included; nothing is learned from prompts.

    `apply(params, batch)` gives logits `[R, L, V]`. Every example has one response here, so it follows its prompt
    directly and token t is predicted at t - 1. Reports `loss` in nats per token and next-token `accuracy`.
    """

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        logits = apply(params, batch)[:, :-1]
        target = batch.tokens_RxL[:, 1:]
        answered = (batch.segments_RxL != batch.prompt_segments_RxL)[:, 1:].astype(jnp.float32)
        log_probability = jax.nn.log_softmax(logits)
        loss = -jnp.take_along_axis(log_probability, target[..., None], axis=-1)[..., 0]
        numerator, weight = jnp.sum(answered * loss), jnp.sum(answered)
        correct = jnp.sum(answered * (jnp.argmax(logits, -1) == target).astype(jnp.float32))
        return numerator, {"weight": weight, "loss": numerator, "accuracy": correct, "accuracy_weight": weight}

    return loss_fn


def chosen_head(scores_NxZ: Array, batch: PackedBatch) -> Array:
    """The score of each response under its own comparison's head, `[N]`."""
    return jnp.take_along_axis(scores_NxZ, batch.head_N[:, None], axis=1)[:, 0]


def pair_sums(gap: Array, batch: PackedBatch) -> dict[str, Array]:
    """Sums over untied pairs, every pair counted once, for the accuracy and mean gap of a batch."""
    counted = ((batch.weight_P > 0) & ~batch.tied_P).astype(jnp.float32)
    right = (gap > 0).astype(jnp.float32) + 0.5 * (gap == 0).astype(jnp.float32)
    total = jnp.sum(counted)
    return {
        "accuracy": jnp.sum(counted * right),
        "accuracy_weight": total,
        "gap": jnp.sum(counted * gap),
        "gap_weight": total,
    }
