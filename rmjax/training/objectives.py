"""Training objectives: functions of a packed batch that return the sum of its losses and sums to report.

Every objective has the form `loss_fn(params, batch) -> (numerator, sums)`; `sums["weight"]` is the denominator. The
step adds both over microbatches and devices and divides once, so that a loss is the same number on any layout.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from rmjax.data.batch import PackedBatch, PairSlots
from rmjax.errors import InputError
from rmjax.models.logprobs import NextTokenModel, response_log_probs, response_statistics
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS, Link
from rmjax.training import losses

LossFn = Callable[[Any, PackedBatch], tuple[Array, dict[str, Array]]]

LOSSES = ("bradley_terry", "classification", "squared_error")
TIES = ("skip", "half", "rao_kupper")


MARGINS = (*losses.MARGINS, "given")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Settings of the reward-model loss.

    Attributes:
        name: `bradley_terry` on pairs, `classification` of winners and losers, or `squared_error` on absolute ratings.
        margin: `none`, `small` or `large` for the Llama 2 margin of a pair's strength; `given` for the margins that the
            data state.
        label_smoothing: the share of labels assumed wrong, in [0, 0.5).
        ties: `skip` leaves tied pairs out, `half` counts each as half a win either way, `rao_kupper` models them.
        tie_threshold: eta > 0 of Rao-Kupper.
        center_coef: coefficient of (r_winner + r_loser)^2.
        safety_coef: coefficient of classifying responses as safe or unsafe by their score, where the data label them.
        lm_coef: coefficient of the next-token cross-entropy of the best responses, in nats per response.
    """

    name: str = "bradley_terry"
    margin: str = "none"
    label_smoothing: float = 0.0
    ties: str = "skip"
    tie_threshold: float = 0.5
    center_coef: float = 0.0
    safety_coef: float = 0.0
    lm_coef: float = 0.0

    def __post_init__(self) -> None:
        for field, known in (("name", LOSSES), ("margin", MARGINS), ("ties", TIES)):
            if getattr(self, field) not in known:
                raise InputError(f"{field} must be one of {', '.join(known)}, found {getattr(self, field)!r}")
        if not 0 <= self.label_smoothing < 0.5:
            raise InputError(f"label_smoothing must be in [0, 0.5), found {self.label_smoothing}")
        for field in ("center_coef", "safety_coef", "lm_coef"):
            if not 0 <= getattr(self, field) < math.inf:
                raise InputError(f"{field} must not be negative, found {getattr(self, field)}")
        if self.ties == "rao_kupper" and not 0 < self.tie_threshold < math.inf:
            raise InputError(f"tie_threshold must be positive for ties=rao_kupper, found {self.tie_threshold}")
        if self.ties == "rao_kupper" and (self.label_smoothing or self.margin != "none"):
            raise InputError("ties=rao_kupper has its own likelihood: set label_smoothing=0 and margin=none")
        if self.name == "classification" and (
            self.margin != "none" or self.label_smoothing or self.ties != "skip" or self.center_coef or self.safety_coef
        ):
            raise InputError(
                "name=classification makes the score the logit of preferred, not a gap: set margin=none, "
                "label_smoothing=0, ties=skip, center_coef=0 and safety_coef=0"
            )
        if self.name == "squared_error" and self.safety_coef:
            raise InputError("name=squared_error makes the score a rating, not the logit of safe: set safety_coef=0")
        if self.name == "squared_error" and (
            self.margin != "none" or self.label_smoothing or self.ties != "skip" or self.center_coef or self.lm_coef
        ):
            raise InputError(
                "name=squared_error uses no pairs: set margin=none, label_smoothing=0, ties=skip, center_coef=0 and "
                "lm_coef=0"
            )


def link_of(loss: LossConfig) -> Link:
    """Returns the link of the scores that a loss trains."""
    if loss.name in ("classification", "squared_error"):
        return NO_ODDS
    return Link("rao_kupper", loss.tie_threshold) if loss.ties == "rao_kupper" else BRADLEY_TERRY


def ranking_objective(apply: Callable[[Any, PackedBatch], Array], config: LossConfig) -> LossFn:
    """Loss on the pairs of a batch; every comparison has weight 1 for any K.

    The auxiliary term of a comparison is the mean over its K responses and has the weight of the comparison, so the
    loss is

        mean over comparisons of (ranking + auxiliary * classification),    classification = 0 without labels.

    So the coefficient alone determines the weight of the classification relative to the ranking of the same comparison,
    for any number of labelled comparisons and any division of the batch. A comparison without pairs, for example a tie
    that is left out, has weight 0 in both terms.

    `apply(params, batch)` returns scores `[N, Z]`. Reports `loss` (with all terms), `accuracy` over untied pairs (equal
    scores count half), `gap` (the mean of winner minus loser) and, if its coefficient is not 0, `auxiliary`: the mean
    classification over the comparisons with labels; 0 in a batch without labels.
    """

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        score_N = chosen_head(apply(params, batch), batch)
        responses, pairs = batch.responses, batch.pairs
        winner, loser = score_N[pairs.winner_P], score_N[pairs.loser_P]
        gap = winner - loser
        if config.ties == "rao_kupper":
            loss = losses.rao_kupper(gap, pairs.tied_P, threshold=config.tie_threshold)
        elif config.name == "classification":
            loss = losses.classification(winner, loser)
        else:
            untied = losses.bradley_terry(gap, margin=pairs.margin_P, label_smoothing=config.label_smoothing)
            loss = jnp.where(pairs.tied_P, losses.tied_half(gap), untied)
        if config.center_coef:
            loss = loss + config.center_coef * losses.centering(winner, loser)
        numerator, reported = jnp.sum(pairs.weight_P * loss), pair_sums(gap, pairs)
        if config.safety_coef:
            classification = losses.safety_classification(score_N, responses.unsafe_N)
            auxiliary = jnp.sum(responses.safety_weight_N * classification)
            numerator = numerator + config.safety_coef * auxiliary
            reported |= {"auxiliary": auxiliary, "auxiliary_weight": jnp.sum(responses.safety_weight_N)}
        return numerator, {"weight": jnp.sum(pairs.weight_P), "loss": numerator, **reported}

    return loss_fn


class JointModel(NamedTuple):
    """A reward model whose trunk is a language model too.

    Attributes:
        hidden: (parameters, batch) -> hidden states `[R, L, D]`.
        score: (parameters, hidden states, batch) -> scores `[N, Z]`.
        language: the language model; its own `hidden` is not used.
    """

    hidden: Callable[[Any, PackedBatch], Array]
    score: Callable[[Any, Array, PackedBatch], Array]
    language: NextTokenModel


def joint_objective(model: JointModel, config: LossConfig) -> LossFn:
    """Ranking loss, and the next-token cross-entropy of the best responses, from one forward pass.

    The loss is the mean over comparisons of (ranking + lm_coef * nats of the best responses). The best ones win a pair
    that has a weight, and lose none. The second term keeps the trunk a language model: preference models are pretrained
    with it (Askell et al. 2112.00861, section 4), and it regularizes reward models (GRM, 2406.10216). Reports what
    `ranking_objective` does, and `lm_loss`, the mean nats per best response.
    """

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        hidden_RxLxD = model.hidden(params, batch)
        ranking = ranking_objective(lambda params, batch: model.score(params, hidden_RxLxD, batch), config)
        numerator, sums = ranking(params, batch)
        language = model.language._replace(hidden=lambda *_: hidden_RxLxD)
        log_prob_N = response_log_probs(language, params, batch)
        pairs = batch.pairs
        judged_P = ((pairs.weight_P > 0) & ~pairs.tied_P).astype(jnp.float32)
        won_N = jnp.zeros_like(log_prob_N).at[pairs.winner_P].max(judged_P)
        lost_N = jnp.zeros_like(log_prob_N).at[pairs.loser_P].max(judged_P)
        best_N = won_N * (1 - lost_N)
        nats = -jnp.sum(best_N * log_prob_N)
        numerator = numerator + config.lm_coef * nats
        return numerator, {**sums, "loss": numerator, "lm_loss": nats, "lm_loss_weight": jnp.sum(best_N)}

    return loss_fn


def rating_objective(apply: Callable[[Any, PackedBatch], Array]) -> LossFn:
    """Squared error on absolute ratings, averaged over responses: the baseline for ranking losses."""

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        score_N = chosen_head(apply(params, batch), batch)
        responses, pairs = batch.responses, batch.pairs
        numerator = jnp.sum(responses.response_mask_N * losses.squared_error(score_N, responses.rating_N))
        gap = score_N[pairs.winner_P] - score_N[pairs.loser_P]
        return numerator, {"weight": jnp.sum(responses.response_mask_N), "loss": numerator, **pair_sums(gap, pairs)}

    return loss_fn


def sft_objective(model: NextTokenModel) -> LossFn:
    """Next-token cross-entropy on the tokens of the responses, EOS included; prompts have no loss.

    An example may have any number of responses: each of them is predicted from the prompt and its own tokens. Reports
    `loss` in nats per token and next-token `accuracy` (a token that no other is likelier than).
    """

    def loss_fn(params: Any, batch: PackedBatch) -> tuple[Array, dict[str, Array]]:
        found = response_statistics(model, params, batch)
        numerator = -jnp.sum(found.log_prob)
        weight = jnp.sum((batch.segments_RxL != batch.prompt_segments_RxL).astype(jnp.float32))
        correct = jnp.sum(found.likeliest.astype(jnp.float32))
        return numerator, {"weight": weight, "loss": numerator, "accuracy": correct, "accuracy_weight": weight}

    return loss_fn


def chosen_head(scores_NxZ: Array, batch: PackedBatch) -> Array:
    """Returns the score of each response under the head of its comparison, `[N]`."""
    return jnp.take_along_axis(scores_NxZ, batch.responses.head_N[:, None], axis=1)[:, 0]


def pair_sums(gap: Array, pairs: PairSlots) -> dict[str, Array]:
    """Returns the sums over untied pairs for the accuracy and the mean gap of a batch; every pair counts once."""
    counted = ((pairs.weight_P > 0) & ~pairs.tied_P).astype(jnp.float32)
    right = (gap > 0).astype(jnp.float32) + 0.5 * (gap == 0).astype(jnp.float32)
    total = jnp.sum(counted)
    return {
        "accuracy": jnp.sum(counted * right),
        "accuracy_weight": total,
        "gap": jnp.sum(counted * gap),
        "gap_weight": total,
    }
