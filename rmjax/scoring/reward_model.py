"""`RewardModel`: what a person holds in hand after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.data.examples import encode_alone
from rmjax.data.packing import Example
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.reward import RewardTransformer
from rmjax.parallel.layout import Layout
from rmjax.scoring.batched_forward import BatchedForward
from rmjax.scoring.contract import Contract
from rmjax.scoring.link import Link
from rmjax.scoring.reward_function import SCALES, RewardFunction, Scored, sigmoid


class RewardModel(RewardFunction):
    """Parameters together with their scoring contract.

    `rmjax.load` makes one from a checkpoint. Every score anywhere in rmjax comes from `score_groups`.

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

    @property
    def link(self) -> Link:
        """The relation between a difference of two raw scores and odds."""
        return self.contract.link

    def _make_scorer(self, layout: Layout, dtype: str, precision: str | None) -> BatchedForward:
        model = RewardTransformer(self.contract.trunk, self.contract.head, jnp.dtype(dtype))
        return BatchedForward(model, layout, precision)

    def score_groups(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], *, exact: bool = False
    ) -> Scored:
        """Raw scores of the K responses to each prompt under every head; `exact` computes in float32.

        A score depends on the prompt and its response alone. Responses to one prompt with equal ids are computed once,
        so that they tie exactly: computed apart, rounding would make one of them the winner.
        """
        # An example is a prompt with its different responses. A prompt that responses of different lengths leave
        # different room is several examples.
        found: list[tuple[np.ndarray, dict[bytes, int]]] = []
        places: list[list[tuple[int, int]]] = []
        cut = []
        for group in encode_alone(prompts, responses, self.tokenizer):
            mine: dict[int, int] = {}
            places.append([])
            for prompt, response in group:
                number = mine.setdefault(id(prompt), len(found))
                if number == len(found):
                    found.append((prompt.ids, {}))
                distinct = found[number][1]
                places[-1].append((number, distinct.setdefault(response.ids.tobytes(), len(distinct))))
            cut.append(np.array([(prompt.cut, response.cut) for prompt, response in group], np.int64))
        examples = [Example(ids, tuple(np.frombuffer(each, np.int32) for each in texts)) for ids, texts in found]
        scores = (self._exact if exact else self._scorer)(self.params, examples)
        return Scored([np.stack([scores[number][k] for number, k in place]) for place in places], cut)

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
