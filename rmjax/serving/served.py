"""The reward function that a server answers with, and the settings of its answers."""

from __future__ import annotations

import dataclasses

import numpy as np

from rmjax.data.batch_shape import coarse_shape
from rmjax.data.tokenizer import Tokenizer
from rmjax.scoring.ensemble import Ensemble
from rmjax.scoring.gate import GatedModel
from rmjax.scoring.heads_and_gate import HeadsAndGate
from rmjax.scoring.reward_function import RewardFunction
from rmjax.scoring.reward_model import RewardModel
from rmjax.serving.rendered import RenderedReader


@dataclasses.dataclass(frozen=True)
class Served:
    """A reward function with what the protocols need.

    Attributes:
        model: the reward function.
        name: of the model, as clients see it.
        head: the head of protocols that have one score for each text.
        scale: the scale of scores for OpenRLHF.
        tokenizer: of the model, or of the first member of an ensemble.
        rendered: reads texts that a chat template has rendered.
    """

    model: RewardFunction
    name: str
    head: str
    scale: str
    tokenizer: Tokenizer
    rendered: RenderedReader

    @classmethod
    def create(
        cls,
        model: RewardFunction,
        name: str,
        *,
        head: str | None = None,
        scale: str = "raw",
        policy: Tokenizer | None = None,
    ) -> Served:
        """Returns a served reward function; a reward model with a gate is served with all heads and the gate.

        From then on its models compute batches of fewer shapes, with more padding.

        Args:
            model: the reward function.
            name: its name.
            head: see `head` of the class; optional if there is one.
            scale: see there.
            policy: tokenizer whose chat template rendered the texts that clients send; None for that of the model.

        Raises:
            InputError: there is no such head or scale, or several heads and none is named.
        """
        if isinstance(model, RewardModel) and model.contract.gate is not None:
            model = HeadsAndGate(model)
        members = _members(model)
        for member in members:  # requests come in all sizes, and each further shape is a wait for the compiler
            member.forward.scores.rounding = coarse_shape
        tokenizer = members[0].tokenizer
        head = model.pick_head(head)
        model.rescale(np.zeros(0, np.float32), scale, head)  # raises if the scale is not defined
        return cls(model, name, head, scale, tokenizer, RenderedReader(policy or tokenizer))

    @property
    def column(self) -> int:
        """The index of `head`."""
        return self.model.heads.index(self.head)


def _members(model: RewardFunction) -> tuple[RewardModel, ...]:
    """Returns the reward models that a reward function is made of."""
    if isinstance(model, Ensemble):
        return model.members
    if isinstance(model, GatedModel | HeadsAndGate):
        return (model.model,)
    assert isinstance(model, RewardModel)  # there are no other reward functions
    return (model,)
