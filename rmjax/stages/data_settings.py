"""Settings of data and tokenizer, as frozen dataclasses."""

from __future__ import annotations

import dataclasses
from typing import Any

from rmjax.data import reading
from rmjax.data.ablations import NEGLIGIBLE, PAIRS
from rmjax.data.hold_out import eval_share, reported_in_words
from rmjax.stages.ranges import one_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(reading.Reading):
    """Data of a reward-model run (`config.data`): sources, and changes to the training data for an ablation."""

    train: str
    eval: str
    validation: str
    holdout: float
    sft: str
    manual_dir: str
    responses: int
    pairs: str
    negligible: str
    flipped: float
    rater_bias: float
    refuse_leaks: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("pairs", self.pairs, PAIRS)
        one_of("negligible", self.negligible, NEGLIGIBLE)
        eval_share(self.eval)

    @property
    def reported(self) -> str:
        """The data to report on, in words."""
        return reported_in_words(self.train, self.eval)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SftDataSettings(reading.Reading):
    """Data of an SFT run (`config.data` of configs/sft.py)."""

    train: str
    holdout: float
    manual_dir: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """Tokenizer (`config.tokenizer`). `path` and `vocab_size` are absent if the model is pretrained."""

    template: str
    max_prompt: int
    max_response: int
    date: str
    split_special_tokens: bool
    path: str = ""
    vocab_size: int = 0

    @property
    def longest(self) -> int:
        """The largest number of tokens of a prompt with one response and EOS."""
        return self.max_prompt + self.max_response + 1

    @property
    def tokenization(self) -> dict[str, Any]:
        """The arguments of `Tokenizer` that say how texts become ids."""
        return {
            "max_prompt": self.max_prompt,
            "max_response": self.max_response,
            "date": self.date,
            "split_special_tokens": self.split_special_tokens,
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, without those that a pretrained model does not have."""
        values = dataclasses.asdict(self)
        return values if self.vocab_size else {k: v for k, v in values.items() if k not in ("path", "vocab_size")}
