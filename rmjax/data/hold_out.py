"""Held-out prompts: a split of data by prompt that does not depend on other data."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeVar

from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.data.hashing import hash_uniform
from rmjax.errors import InputError

Item = TypeVar("Item", Comparison, Demonstration)

EVAL_SHARE = 0.1  # of the training prompts, for data.eval=holdout
EVAL = re.compile(r"holdout(?::(\d+(?:\.\d+)?)%)?")


def eval_share(spec: str) -> float | None:
    """Returns the share of the training prompts that `data.eval` holds out; None if it names a source.

    Raises:
        InputError: it begins as a share and is none.

    Example:
        >>> eval_share("holdout"), eval_share("holdout:20%"), eval_share("gold/helpful")
        (0.1, 0.2, None)
    """
    if not spec.startswith("holdout"):
        return None
    if not (match := EVAL.fullmatch(spec)):
        raise InputError(f"cannot read data.eval={spec}: it is a source, holdout, or a share as in holdout:20%")
    return EVAL_SHARE if match[1] is None else float(match[1]) / 100


def reported_in_words(train: str, spec: str) -> str:
    """Returns the data that `data.eval` names: its source, or its share of the training data.

    Example:
        >>> reported_in_words("jsonl:mine.jsonl", "holdout")
        '10 % of the prompts of jsonl:mine.jsonl'
    """
    share = eval_share(spec)
    return spec if share is None else f"{100 * share:g} % of the prompts of {train}"


def hold_out(items: Sequence[Item], fraction: float, use: str = "") -> tuple[list[Item], list[Item]]:
    """Returns (train, held out), split by prompt, each in the given order.

    A prompt is held out depending on a hash of the prompt, on `fraction` and on `use` only; the prompts of two uses are
    chosen independently. So the demonstrations of a run leave
    out the same prompts as its comparisons, and so does an earlier SFT run. The number of held-out prompts is therefore
    only about `fraction` of all. Neither side is empty: if the hash would cause that in small data, the prompt with the
    lowest (or highest) hash moves to the other side.

    Raises:
        InputError: `fraction` is not between 0 and 1, or there is only one prompt.
    """
    if not 0 < fraction < 1:
        raise InputError(f"the fraction to hold out must be between 0 and 1, found {fraction}")
    hashes = {item.prompt: hash_uniform(use + json.dumps(item.prompt)) for item in items}
    if len(hashes) < 2:
        raise InputError(f"holding out needs at least two different prompts, found {len(hashes)}")
    lowest, highest = min(hashes.values()), max(hashes.values())
    chosen = {prompt for prompt, value in hashes.items() if value == lowest or fraction > value < highest}
    return [item for item in items if item.prompt not in chosen], [item for item in items if item.prompt in chosen]
