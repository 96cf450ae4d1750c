"""The heads of a reward model and its gate, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.scoring.gate import GatedModel, inputs_of, whitened
from rmjax.scoring.link import NO_ODDS, Link
from rmjax.scoring.reward_function import RewardFunction, Scored
from rmjax.scoring.reward_model import RewardModel

GATE = "gate"


class HeadsAndGate(RewardFunction):
    """A reward model as a reward function with a further head, `gate`, whose score is that of `GatedModel`.

    Raises:
        InputError: its contract has no gate.
    """

    def __init__(self, model: RewardModel) -> None:
        self.model, self._gated = model, GatedModel(model)

    def __repr__(self) -> str:
        return f"HeadsAndGate({self.model!r})"

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads of the model, and the gate."""
        return (*self.model.heads, GATE)

    @property
    def link(self) -> Link:
        """No odds: those of a head are not those of the gate."""
        return NO_ODDS

    def score_groups(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> Scored:
        """Returns scores `[K, Z + 1]` of the K responses to each prompt, and the tokens that were cut."""
        gate = self._gated.gate
        scored = self.model.score_groups(prompts, [[*group, gate.refusal] for group in responses])
        inputs = inputs_of(scored.raw, self.model.heads, self.model.contract.normalization, gate)
        raw = [
            np.concatenate([scores_KxZ[:-1], whitened(each, gate)[:, None].astype(np.float32)], axis=1)
            for scores_KxZ, each in zip(scored.raw, inputs, strict=True)
        ]
        return Scored(raw, [cut_Kx2[:-1] for cut_Kx2 in scored.cut])

    def rescale(self, raw: np.ndarray, scale: str, head: str) -> np.ndarray:
        """Returns raw scores of `head` on another scale; see `score`."""
        return (self._gated if head == GATE else self.model).rescale(raw, scale, head)
