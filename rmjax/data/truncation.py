"""Counts of the tokens that truncation cut from scored texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Truncation:
    """Counts of tokens that truncation cut from N texts, each a prompt with one response.

    Attributes:
        texts: N.
        prompts_truncated: texts whose prompt lost tokens.
        responses_truncated: texts whose response lost tokens.
        tokens_cut: lost tokens in total.
    """

    texts: int
    prompts_truncated: int
    responses_truncated: int
    tokens_cut: int

    @classmethod
    def of(cls, cut: Sequence[np.ndarray]) -> Truncation:
        """Returns the counts of arrays `[K, 2]`: tokens cut from the prompt and from the response of K texts."""
        cut_Nx2 = np.concatenate([np.zeros((0, 2), int), *cut])
        prompts, responses = (cut_Nx2 > 0).sum(axis=0).tolist()
        return cls(len(cut_Nx2), prompts, responses, int(cut_Nx2.sum()))

    def to_json(self) -> dict[str, Any]:
        """Returns the counts by name."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """Returns one sentence, or "" if nothing was cut."""
        if not self.tokens_cut:
            return ""
        return (
            f"truncation cut {self.tokens_cut:,} tokens off {self.texts:,} scored texts: {self.responses_truncated:,} "
            f"responses lost their end and {self.prompts_truncated:,} prompts their beginning; the scores are those of "
            "the shortened texts"
        )
