"""Held-out prompts: a split of data by prompt that does not depend on other data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.data.hashing import hash_uniform
from rmjax.errors import InputError

Item = TypeVar("Item", Comparison, Demonstration)


def hold_out(items: Sequence[Item], fraction: float) -> tuple[list[Item], list[Item]]:
    """Returns (train, held out), split by prompt, each in the given order.

    A prompt is held out depending on a hash of the prompt and on `fraction` only. So the demonstrations of a run leave
    out the same prompts as its comparisons, and so does an earlier SFT run. The number of held-out prompts is therefore
    only about `fraction` of all. Neither side is empty: if the hash would cause that in small data, the prompt with the
    lowest (or highest) hash moves to the other side.

    Raises:
        InputError: `fraction` is not between 0 and 1, or there is only one prompt.
    """
    if not 0 < fraction < 1:
        raise InputError(f"the fraction to hold out must be between 0 and 1, found {fraction}")
    hashes = {item.prompt: hash_uniform(json.dumps(item.prompt)) for item in items}
    if len(hashes) < 2:
        raise InputError(f"holding out needs at least two different prompts, found {len(hashes)}")
    lowest, highest = min(hashes.values()), max(hashes.values())
    chosen = {prompt for prompt, value in hashes.items() if value == lowest or fraction > value < highest}
    return [item for item in items if item.prompt not in chosen], [item for item in items if item.prompt in chosen]
