"""Ensembles of reward models: combined scores, or averaged weights.

A policy that is trained against one reward model finds its mistakes. Members with the same initial weights and another
order of the data make other mistakes, so a score is unreliable if the members disagree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.errors import InputError
from rmjax.scoring.contract import Normalization
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS, Link
from rmjax.scoring.reward_function import SCALES, RewardFunction, Scored, sigmoid
from rmjax.scoring.reward_model import RewardModel

METHODS = ("mean", "worst", "uncertainty")


class Ensemble(RewardFunction):
    """The scores of several reward models, combined response by response.

    Each member's raw score is first taken relative to its own mean on its reference texts, because the ranking loss
    leaves that constant free; the unit stays. The difference of two means is the mean of the members' log odds. The
    other methods give no odds: a difference of minima compares different members, and a variance has another unit.
    With r_1..r_M so centred:

        mean         (1/M) Σ r_m
        worst        min_m r_m
        uncertainty  mean - penalty · (1/M) Σ (r_m - mean)²

    Args:
        members: two or more with the same heads.
        method: one of `METHODS`.
        penalty: of `uncertainty`, at least 0; the others take none.

    Raises:
        InputError: the members do not fit each other, or the method and its penalty do not.

    Source: Coste et al. (2310.02743): mean, worst-case and uncertainty-weighted optimisation.
    """

    def __init__(self, members: Sequence[RewardModel], method: str, penalty: float | None = None) -> None:
        if method not in METHODS:
            raise InputError(f"unknown way to combine {method!r}: known are {', '.join(METHODS)} and weights")
        if (method == "uncertainty") != (penalty is not None) or (penalty or 0) < 0:
            raise InputError("a penalty of at least 0 belongs to the method uncertainty only")
        check_members(members)
        for number, member in enumerate(members, start=1):
            if missing := [head for head in member.heads if head not in member.contract.normalization]:
                raise InputError(
                    f"member {number} has no normalization for the head {missing[0]!r}, so its scores cannot be "
                    "centred: an ensemble needs checkpoints of rmjax"
                )
        self.members, self.method, self.penalty = tuple(members), method, penalty

    def __repr__(self) -> str:
        penalty = f", penalty {self.penalty}" if self.penalty is not None else ""
        return f"Ensemble({self.method} of {len(self.members)} models{penalty}; the first: {self.members[0]!r})"

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, the same in every member."""
        return self.members[0].heads

    @property
    def link(self) -> Link:
        """Bradley-Terry for the mean of Bradley-Terry models; otherwise none."""
        logistic = self.method == "mean" and all(member.link == BRADLEY_TERRY for member in self.members)
        return BRADLEY_TERRY if logistic else NO_ODDS

    def score_groups(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> Scored:
        """Returns combined scores of the responses to each prompt under every head, and the most that a member cut."""
        scored = [member.score_groups(prompts, responses) for member in self.members]
        centred = [self._centred(member, each.raw) for member, each in zip(self.members, scored, strict=True)]
        raw = [self._combine(np.stack(scores_MxKxZ)) for scores_MxKxZ in zip(*centred, strict=True)]
        return Scored(raw, [np.max(cut_MxKx2, axis=0) for cut_MxKx2 in zip(*(s.cut for s in scored), strict=True)])

    def rescale(self, raw: np.ndarray, scale: str, head: str) -> np.ndarray:
        """Returns the scores on another scale; see `score`.

        Raw scores are centred, so the normalized ones are raw scores over the mean of the members' standard deviations.
        """
        if scale not in SCALES:
            raise InputError(f"unknown scale {scale!r}: known are {', '.join(SCALES)}")
        if scale == "raw":
            return raw
        normalized = raw / np.float32(np.mean([member.contract.normalization[head].std for member in self.members]))
        return normalized if scale == "normalized" else sigmoid(normalized)

    def _centred(self, member: RewardModel, raw: Sequence[np.ndarray]) -> list[np.ndarray]:
        mean_Z = np.array([member.contract.normalization[head].mean for head in member.heads], np.float32)
        return [scores_KxZ - mean_Z for scores_KxZ in raw]

    def _combine(self, scores_MxKxZ: np.ndarray) -> np.ndarray:
        if self.method == "worst":
            return scores_MxKxZ.min(axis=0)
        mean_KxZ = scores_MxKxZ.mean(axis=0)
        if self.method == "mean":
            return mean_KxZ
        return mean_KxZ - np.float32(self.penalty) * scores_MxKxZ.var(axis=0)


def average_weights(members: Sequence[RewardModel]) -> RewardModel:
    """Returns one reward model whose parameters are the mean of the members'; it costs as much as one.

    The mean is useful only if the members were fine-tuned from the same weights, those of the head included. Other
    members are refused: train them with one `init_seed`. The result has no canaries. Its normalization is the mean of
    the members', whose reference texts are not stored.

    Raises:
        InputError: the members do not fit each other, or did not begin with the same weights.

    Source: Ramé et al. (2401.12187), WARM.
    """
    check_members(members)
    # The mean of two products of adapters is not the product of their means.
    members = [member.merged() for member in members]
    first = members[0]
    for number, member in enumerate(members[1:], start=2):
        ours, theirs = first.contract, member.contract
        if ours.data["start"] != theirs.data["start"] or ours.data["start"] == "random":
            raise InputError(
                f"weights can be averaged only between models fine-tuned from the same ones, but member 1 began with "
                f"{ours.data['start']!r} and member {number} with {theirs.data['start']!r}"
            )
        if ours.data.get("init_seed") != theirs.data.get("init_seed") or "init_seed" not in ours.data:
            raise InputError(
                f"weights can be averaged only between models whose heads began alike, which members 1 and {number} do "
                "not state: train them with one --config.init_seed"
            )
        tokenization = ("max_prompt", "max_response", "chat_template", "date", "split_special_tokens", "ending")
        same = ("trunk", "link", *tokenization)
        if wrong := [name for name in same if getattr(ours, name) != getattr(theirs, name)]:
            raise InputError(f"members 1 and {number} differ in {wrong[0]}, so their weights mean different things")
    params = jax.tree.map(lambda *each: sum(each) / len(each), *(member.params for member in members))
    stated = [member.contract.normalization for member in members]
    shared = [head for head in first.heads if all(head in each for each in stated)]
    normalization = {
        head: Normalization(
            float(np.mean([each[head].mean for each in stated])),
            float(np.mean([each[head].std for each in stated])),
            sum(each[head].count for each in stated),
            "mean of the normalizations of averaged models",
        )
        for head in shared
    }
    contract = dataclasses.replace(first.contract, normalization=normalization, canaries=(), gate=None)
    return RewardModel(params, contract, first.tokenizer, first.layout)


def check_members(members: Sequence[RewardModel]) -> None:
    """Raises InputError unless there are several members with the same heads."""
    if len(members) < 2:
        raise InputError(f"an ensemble needs at least two members, found {len(members)}")
    for number, member in enumerate(members[1:], start=2):
        if member.heads != members[0].heads:
            raise InputError(
                f"member 1 has the heads {', '.join(members[0].heads)}, member {number} {', '.join(member.heads)}: "
                "an ensemble needs the same in all"
            )
