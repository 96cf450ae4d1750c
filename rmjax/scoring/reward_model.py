"""A trained reward model: parameters, tokenizer, contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rmjax.data.batch import Example
from rmjax.data.comparisons import Prompt
from rmjax.data.examples import encode_alone
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.lora import merge
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import model_in_words
from rmjax.parallel.layout import Layout
from rmjax.scoring.batched_forward import BatchedForward
from rmjax.scoring.contract import Contract
from rmjax.scoring.link import Link
from rmjax.scoring.reward_function import SCALES, RewardFunction, Scored, sigmoid


@dataclasses.dataclass(frozen=True)
class Forward:
    """Compiled forward passes of a reward model.

    Attributes:
        scores: in the compute dtype of the contract.
        features: what the heads read, in the same dtype.
        exact: in float32 with exact matrix products, for the canaries: they must not depend on the arithmetic of the
            machine that opens a checkpoint. A CPU computes float32 exactly, so there the two are the same.
    """

    scores: BatchedForward
    features: BatchedForward
    exact: BatchedForward

    @classmethod
    def create(cls, contract: Contract, layout: Layout) -> Forward:
        """Returns the forward passes of a contract's model; they are compiled when they are first used."""

        def forward(dtype: str, precision: str | None = None, features: bool = False) -> BatchedForward:
            model = RewardTransformer(contract.trunk, contract.head, jnp.dtype(dtype), features=features)
            return BatchedForward(model, layout, precision)

        scores = forward(contract.compute_dtype)
        same = contract.compute_dtype == "float32" and layout.devices[0].platform == "cpu"
        return cls(
            scores,
            forward(contract.compute_dtype, features=True),
            scores if same else forward("float32", "highest"),
        )


class RewardModel(RewardFunction):
    """Parameters with their scoring contract.

    `rmjax.load` returns one for a checkpoint. Every score anywhere in rmjax comes from `score_groups`.

    Args:
        params: parameters of `RewardTransformer`, laid out by `layout`.
        contract: everything else that the scores depend on.
        tokenizer: the tokenizer of the contract.
        layout: the devices to run on.
        forward: the forward passes, if another model with the same trunk and heads has compiled them.
    """

    def __init__(
        self,
        params: Any,
        contract: Contract,
        tokenizer: Tokenizer,
        layout: Layout,
        forward: Forward | None = None,
    ) -> None:
        self.params, self.contract, self.tokenizer, self.layout = params, contract, tokenizer, layout
        self.forward = forward or Forward.create(contract, layout)

    def __repr__(self) -> str:
        size = model_in_words(RewardTransformer(self.contract.trunk, self.contract.head, jnp.dtype("float32")))
        facts = (size, f"heads {', '.join(self.heads)}", self.tokenizer.limits_in_words())
        return f"RewardModel({'; '.join((*facts, self.contract.origin_in_words()))})"

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads."""
        return self.contract.heads

    @property
    def link(self) -> Link:
        """The relation between a difference of two raw scores and odds."""
        return self.contract.link

    def merged(self) -> RewardModel:
        """Returns the same model without adapters, which are added to its weights; itself if it has none."""
        lora = self.contract.trunk.lora
        if lora is None:
            return self
        contract = dataclasses.replace(self.contract, trunk=self.contract.trunk.without_adapters())
        return RewardModel(merge(self.params, lora), contract, self.tokenizer, self.layout)

    def score_groups(
        self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], *, exact: bool = False
    ) -> Scored:
        """Returns raw scores of the K responses to each prompt under every head; `exact` computes in float32.

        A score depends only on the prompt and its response. Responses to one prompt with equal ids are computed once,
        so that they tie exactly; otherwise rounding would make one of them the winner.
        """
        return self._compute(self.forward.exact if exact else self.forward.scores, prompts, responses)

    def features(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Returns the vectors that the heads read, `[K, D] float32` for the K responses to each prompt."""
        return self._compute(self.forward.features, prompts, responses).raw

    def _compute(
        self, forward: BatchedForward, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]
    ) -> Scored:
        # An example is a prompt with its different responses. A long prompt is cut to the room that a response leaves,
        # so with responses of different lengths it can become several examples.
        found: list[tuple[np.ndarray, dict[bytes, int]]] = []
        slots: list[list[tuple[int, int]]] = []  # (example, response) of every score
        cut = []
        for group in encode_alone(prompts, responses, self.tokenizer):
            mine: dict[int, int] = {}
            slots.append([])
            for prompt, response in group:
                number = mine.setdefault(id(prompt), len(found))
                if number == len(found):
                    found.append((prompt.ids, {}))
                distinct = found[number][1]
                slots[-1].append((number, distinct.setdefault(response.ids.tobytes(), len(distinct))))
            cut.append(np.array([(prompt.cut, response.cut) for prompt, response in group], np.int64))
        examples = [Example(ids, tuple(np.frombuffer(each, np.int32) for each in texts)) for ids, texts in found]
        scores = forward(self.params, examples)
        return Scored([np.stack([scores[number][k] for number, k in group]) for group in slots], cut)

    def rescale(self, raw: np.ndarray, scale: str, head: str) -> np.ndarray:
        """Returns raw scores of `head` on another scale; see `score`."""
        if scale not in SCALES:
            raise InputError(f"unknown scale {scale!r}: known are {', '.join(SCALES)}")
        if scale == "raw":
            return raw
        if head not in self.contract.normalization:
            raise InputError(f"the checkpoint has no normalization for the head {head!r}: only scale=raw is defined")
        reference = self.contract.normalization[head]
        normalized = (raw - np.float32(reference.mean)) / np.float32(reference.std)
        return normalized if scale == "normalized" else sigmoid(normalized)
