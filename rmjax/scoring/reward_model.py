"""`RewardModel`: what a person holds in hand after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.data.examples import encode_groups
from rmjax.data.packing import Example
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.parallel import Layout
from rmjax.models.reward import RewardTransformer
from rmjax.scoring.contract import Contract
from rmjax.scoring.judge import SCALES, Judge, sigmoid
from rmjax.scoring.scorer import Scorer


class RewardModel(Judge):
    """Parameters together with their scoring contract.

    `rmjax.load` makes one from a checkpoint. Every score anywhere in rmjax comes from `raw`.

    Args:
        params: parameters of `RewardTransformer`, placed by `layout`.
        contract: what the scores depend on beside the parameters.
        tokenizer: the tokenizer the contract speaks of.
        layout: the devices to run on.
    """

    def __init__(self, params: Any, contract: Contract, tokenizer: Tokenizer, layout: Layout) -> None:
        self.params, self.contract, self.tokenizer, self.layout = params, contract, tokenizer, layout
        self._scorer = self._make_scorer(layout, contract.compute_dtype, None)
        # What a checkpoint is recognised by must not depend on the arithmetic of the machine that opens it. A CPU
        # computes float32 as it stands; elsewhere, and in bfloat16, the canaries have a scorer of their own.
        as_it_stands = contract.compute_dtype == "float32" and layout.devices[0].platform == "cpu"
        self._exact = self._scorer if as_it_stands else self._make_scorer(layout, "float32", "highest")

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads."""
        return self.contract.heads

    def _make_scorer(self, layout: Layout, dtype: str, precision: str | None) -> Scorer:
        model = RewardTransformer(self.contract.trunk, self.contract.heads, jnp.dtype(dtype))
        return Scorer(model, layout, precision)

    def raw(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], *, exact: bool = False
    ) -> list[np.ndarray]:
        """Raw scores `[K, Z]` of the K responses to each prompt under every head; `exact` computes in float32.

        Responses to one prompt with equal ids are computed once, so that they tie exactly: computed apart, rounding
        would make one of them the winner.
        """
        examples, places = [], []
        for prompt, group in zip(*encode_groups(prompts, responses, self.tokenizer), strict=True):
            distinct: dict[bytes, int] = {}
            places.append([distinct.setdefault(response.ids.tobytes(), len(distinct)) for response in group])
            examples.append(Example(prompt.ids, tuple(np.frombuffer(ids, np.int32) for ids in distinct)))
        scores = (self._exact if exact else self._scorer)(self.params, examples)
        return [scores_KxZ[place] for scores_KxZ, place in zip(scores, places, strict=True)]

    def rescale(self, raw: np.ndarray, scale: str, head: str) -> np.ndarray:
        """Raw scores of `head` on another scale; see `score`."""
        if scale not in SCALES:
            raise InputError(f"unknown scale {scale!r}: known are {', '.join(SCALES)}")
        if scale == "raw":
            return raw
        if head not in self.contract.normalization:
            raise InputError(f"the checkpoint has no normalization for the head {head!r}: only scale=raw is defined")
        reference = self.contract.normalization[head]
        normalized = (raw - np.float32(reference.mean)) / np.float32(reference.std)
        return normalized if scale == "normalized" else sigmoid(normalized)
