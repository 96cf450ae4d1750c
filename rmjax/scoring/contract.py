"""The scoring contract of a checkpoint: all settings that a score depends on, and canary texts with their scores."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmjax.data.comparisons import Message, Prompt
from rmjax.data.files import read_json
from rmjax.errors import InputError
from rmjax.models.config import HeadConfig, TransformerConfig, config_from_json, head_from_json
from rmjax.scoring.link import BRADLEY_TERRY, Link

FORMAT = 4
KINDS = ("reward_model", "language_model")
DTYPES = ("float32", "bfloat16")

# Largest difference between a canary's stored and recomputed score, in standard deviations of the head's canaries. A
# lost head, another template or another truncation differs by far more.
TOLERANCE = 1e-3
# The same as a share of the score: another machine or number of devices changes float32 by about 1e-6 of it.
ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of raw scores on reference texts; `normalized = (raw - mean) / std`."""

    mean: float
    std: float
    count: int
    source: str

    def __post_init__(self) -> None:
        _check_finite(self, "a normalization", "mean", "std")
        if self.std <= 0:
            raise InputError(f"the std of a normalization must be above 0, found {self.std}")


@dataclasses.dataclass(frozen=True)
class Canary:
    """A text with its raw score under one head at the time the checkpoint was written."""

    prompt: Prompt
    response: str
    head: str
    score: float

    def __post_init__(self) -> None:
        _check_finite(self, f"a canary of the head {self.head!r}", "score")


@dataclasses.dataclass(frozen=True)
class Gate:
    """Combination of a helpfulness and a safety head into one score; see `rmjax.scoring.gate`.

    Attributes:
        helpful: name of the head for helpfulness.
        safety: name of the head for safety.
        prompt_threshold: a prompt is unsafe if refusing it is safe with a higher probability.
        response_threshold: a response that is safe with a lower probability gets the safety score.
        refusal: the text of a refusal.
        mean: of the combined score on the fitted data.
        std: standard deviation of the same scores.
        agreement: accuracy on the fitted data, half for helpfulness and half for safety.
        source: description of the fitted data.
    """

    helpful: str
    safety: str
    prompt_threshold: float
    response_threshold: float
    refusal: str
    mean: float
    std: float
    agreement: float
    source: str


@dataclasses.dataclass(frozen=True)
class Contract:
    """The contract of a checkpoint.

    Attributes:
        kind: `reward_model` or `language_model` (an SFT checkpoint).
        step: number of training steps.
        trunk: settings of the trunk.
        head: settings of the reward heads; a language model has no names.
        compute_dtype: `float32` or `bfloat16`.
        max_prompt: tokens that a prompt keeps at least; see `rmjax.data.tokenizer.Tokenizer`, as for the next four.
        max_response: tokens that a response keeps at least.
        date: the date that the chat template writes.
        split_special_tokens: True if special tokens in contents are text.
        chat_template: the Jinja template, also stored with the tokenizer; the two must agree.
        ending: the ids that follow every response; the last one is EOS.
        data: source and fingerprint of the training data.
        link: the relation between a difference of two scores and odds.
        normalization: by head.
        canaries: texts with their scores.
        gate: the combination of two heads into one score; None if it was not fitted.
    """

    kind: str
    step: int
    trunk: TransformerConfig
    head: HeadConfig
    compute_dtype: str
    max_prompt: int
    max_response: int
    date: str
    split_special_tokens: bool
    chat_template: str
    ending: tuple[int, ...]
    data: dict[str, Any]
    link: Link = BRADLEY_TERRY
    normalization: dict[str, Normalization] = dataclasses.field(default_factory=dict)
    canaries: tuple[Canary, ...] = ()
    gate: Gate | None = None

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads, in the order of the score columns."""
        return self.head.names

    def origin_in_words(self) -> str:
        """Returns where the weights come from: steps and training data, or for other weights their start."""
        return f"{self.step} steps on {self.data['source']}" if self.step else f"from {self.data['start']}"

    def to_json(self) -> str:
        """Returns the contract as JSON text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False)


def read_contract(path: Path) -> Contract:
    """Reads the contract in `path`.

    Raises:
        InputError: the file is not a contract, or another version of rmjax wrote it.
    """
    try:
        record = read_json(path)
        version = record.pop("format")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is missing or not a scoring contract: is this a checkpoint of rmjax?") from None
    if version != FORMAT:
        raise InputError(
            f"{path} has format {version}, this rmjax reads format {FORMAT}: use the version of rmjax that wrote it, "
            "or export the checkpoint with that version (experiments/export.py) and load the exported folder"
        )
    try:
        contract = Contract(
            **{
                **record,
                "trunk": config_from_json(record["trunk"]),
                "head": head_from_json(record["head"]),
                "ending": tuple(record["ending"]),
                "link": Link(**record["link"]),
                "gate": Gate(**record["gate"]) if record["gate"] else None,
                "normalization": {head: Normalization(**n) for head, n in record["normalization"].items()},
                "canaries": tuple(
                    Canary(**{**canary, "prompt": tuple(Message(*turn) for turn in canary["prompt"])})
                    for canary in record["canaries"]
                ),
            }
        )
        _check(contract)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} is not a complete scoring contract ({error})") from None
    return contract


def _check(contract: Contract) -> None:
    """Raises InputError for values that no contract has; `Tokenizer` checks the settings of the tokenization."""
    known = set(contract.heads)
    named = {canary.head for canary in contract.canaries} | contract.normalization.keys()
    named |= {contract.gate.helpful, contract.gate.safety} if contract.gate else set()
    prompts = [canary.prompt for canary in contract.canaries]
    texts = [contract.chat_template, contract.date, *(canary.response for canary in contract.canaries)]
    texts += [text for prompt in prompts for message in prompt for text in message]
    numbers = [contract.step, contract.max_prompt, contract.max_response, *contract.ending]
    if gate := contract.gate:
        _check_finite(gate, "the gate", "prompt_threshold", "response_threshold", "mean", "std")
    for wrong, problem in (
        (contract.kind not in KINDS, f"kind {contract.kind!r}"),
        (contract.compute_dtype not in DTYPES, f"compute_dtype {contract.compute_dtype!r}"),
        (gate is not None and gate.std <= 0, "a gate whose std is not above 0"),
        (contract.kind == "reward_model" and not known, "a reward model without heads"),
        (len(known) < len(contract.heads) or not named <= known, f"heads {sorted(named)} of {list(contract.heads)}"),
        (not all(isinstance(text, str) for text in texts), "a text that is none"),
        (not all(type(number) is int for number in numbers), "a whole number that is none"),
        (not isinstance(contract.data, dict), "data that is no object"),
        (
            not all(isinstance(contract.data.get(name), str) for name in ("source", "start")),
            "data without source or start",
        ),
    ):
        if wrong:
            raise InputError(problem)


def _check_finite(record: Any, name: str, *fields: str) -> None:
    """Raises InputError unless the fields are finite numbers."""
    for field in fields:
        value = getattr(record, field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"the {field} of {name} must be a finite number, found {value!r}")


def choose_canaries(
    texts: Sequence[tuple[Prompt, str]], scores: np.ndarray, head: str, count: int = 8
) -> tuple[Canary, ...]:
    """Chooses canaries for one head: half evenly over the scores `[N]`, half over the lengths of the responses."""
    by_score = np.argsort(scores, kind="stable")
    by_length = np.argsort([len(response) for _, response in texts], kind="stable")
    half = np.linspace(0, len(texts) - 1, min(len(texts), count // 2)).round().astype(int)
    chosen = dict.fromkeys([*by_score[half].tolist(), *by_length[half].tolist()])
    return tuple(Canary(texts[i][0], texts[i][1], head, float(scores[i])) for i in chosen)


def check_canaries(canaries: Sequence[Canary], recomputed: Sequence[float], where: Path) -> None:
    """Raises InputError unless every recomputed score agrees with the stored one.

    A score may differ by TOLERANCE of the standard deviation of its head's canaries, plus ROUNDING of itself. A ranking
    loss does not fix the mean of the scores, so the first tolerance must not grow with it.
    """
    by_head: dict[str, list[float]] = {}
    for canary in canaries:
        by_head.setdefault(canary.head, []).append(canary.score)
    for canary, score in zip(canaries, recomputed, strict=True):
        allowed = TOLERANCE * float(np.std(by_head[canary.head])) + ROUNDING * max(abs(canary.score), 1.0)
        if not abs(score - canary.score) <= allowed:
            raise InputError(
                f"{where} does not score as it did when it was written: head {canary.head!r} gives {score:.6g} for a "
                f"canary text that had {canary.score:.6g}; weights, tokenizer or contract have changed. Use another "
                "checkpoint, or pass verify=False (--noverify) to load it all the same"
            )
