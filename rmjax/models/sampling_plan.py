"""Plan of sampling: which samples a device decodes together, and when a grid of samples becomes smaller.

A grid has P prompts with n samples each. Sizes come from a short list, because a program is compiled for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rmjax.data.batch_shape import power_of_two

# Tokens of prompts that a device computes at a time.
PROMPT_TOKENS = 16384
FEWEST_ROWS = 8  # a grid is not made smaller than this
NONE = -1


class Part(NamedTuple):
    """Prompts of the devices with the samples that are decoded in turn.

    Attributes:
        tokens: ids `[S, P, T] int32`, padded at the end.
        lengths: int32 `[S, P]`; 1 in an empty place.
        prompts: int32 `[S, P]`, index of the prompt, -1 for an empty place.
        samples: index of each sample, int32 `[S, P, n]`, -1 for none; one array for each turn.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray
    samples: list[np.ndarray]


def plan(prompts: Sequence[np.ndarray], n: int, shards: int, rows: int) -> Iterator[Part]:
    """Yields the parts of a call: all n samples of every prompt, with prompts of similar length together.

    Args:
        prompts: token ids of each prompt.
        n: number of samples of each prompt.
        shards: S. If there are fewer prompts, the samples of each are divided.
        rows: the most samples that a shard decodes at a time.
    """
    divided = min(n, -(-shards // len(prompts)))
    width = -(-n // divided)
    turns = -(-width // rows)
    at_a_time = -(-width // turns)
    groups = [(i, first) for i in np.argsort([len(p) for p in prompts], kind="stable") for first in range(0, n, width)]
    start = 0
    while start < len(groups):
        start, part = _part(prompts, groups, start, shards, max(1, rows // at_a_time))
        longest = rounded_length(max(len(prompts[i]) for i, _ in part))
        places = rounded(-(-len(part) // shards))
        tokens = np.zeros((shards, places, longest), np.int32)
        lengths = np.ones((shards, places), np.int32)
        index = np.full((shards, places), NONE, np.int32)
        samples = [np.full((shards, places, at_a_time), NONE, np.int32) for _ in range(turns)]
        for k, (i, first) in enumerate(part):
            place = k % shards, k // shards
            tokens[place][: len(prompts[i])] = prompts[i]
            lengths[place], index[place] = len(prompts[i]), i
            for turn in range(turns):
                here = first + turn * at_a_time + np.arange(at_a_time)
                samples[turn][place] = np.where(here < min(first + width, n), here, NONE)
        yield Part(tokens, lengths, index, samples)


def _part(
    prompts: Sequence[np.ndarray], groups: Sequence[tuple[int, int]], start: int, shards: int, most: int
) -> tuple[int, Sequence[tuple[int, int]]]:
    """Returns the end of the part that begins at `start`, and its groups."""
    end = min(len(groups), start + shards * most)
    while end - start > shards:
        longest = rounded_length(len(prompts[groups[end - 1][0]]))
        if -(-(end - start) // shards) * longest <= PROMPT_TOKENS:
            break
        end -= shards
    return end, groups[start:end]


def rounded(count: int) -> int:
    """Returns the next size of a short list, at most a quarter more than `count`.

    Example:
        >>> [rounded(count) for count in (1, 3, 5, 9, 33, 65, 100)]
        [1, 3, 5, 10, 40, 80, 112]
    """
    unit = max(1, power_of_two(count) // 8)
    return -(-count // unit) * unit


def rounded_length(length: int) -> int:
    """Returns the next length of a shorter list, at least 8 and below 1.5 times `length` above that.

    Example:
        >>> [rounded_length(length) for length in (1, 9, 13, 17, 25, 33, 128)]
        [8, 12, 16, 24, 32, 48, 128]
    """
    power = power_of_two(max(length, 8))
    return power * 3 // 4 if length <= power * 3 // 4 and power > 8 else power


class Kept(NamedTuple):
    """A smaller grid: the places of its samples in the old one.

    Attributes:
        prompts: int32 `[S, P']`, place of each prompt.
        samples: int32 `[S, P', n']`, place of each sample among those of its prompt, -1 for none.
    """

    prompts: np.ndarray
    samples: np.ndarray


def smaller_grid(alive_SxPxn: np.ndarray) -> Kept | None:
    """Returns a grid of at most half the rows with the samples that have not ended, or None.

    It has one of two forms, and sizes are powers of two, so that few programs are compiled: all prompts with fewer
    places for each, or one place for each sample, with a copy of its prompt, if that makes no more than twice the
    prompts.
    """
    S, P, n = alive_SxPxn.shape
    width = power_of_two(max(int(alive_SxPxn.sum(2).max()), -(-FEWEST_ROWS // P)))
    single = power_of_two(max(int(alive_SxPxn.sum((1, 2)).max()), FEWEST_ROWS))
    if single > 2 * P or P * width < single:
        if 2 * width > n:
            return None
        places = np.broadcast_to(np.arange(P, dtype=np.int32), (S, P))
        order = np.argsort(~alive_SxPxn, axis=2, kind="stable")[:, :, :width]
        return Kept(places, np.where(np.take_along_axis(alive_SxPxn, order, 2), order, NONE).astype(np.int32))
    if 2 * single > P * n:
        return None
    prompts, samples = np.zeros((S, single), np.int32), np.full((S, single, 1), NONE, np.int32)
    for shard, alive_Pxn in enumerate(alive_SxPxn):
        prompt, sample = np.nonzero(alive_Pxn)
        prompts[shard, : len(prompt)], samples[shard, : len(sample), 0] = prompt, sample
    return Kept(prompts, samples)


def pick(values: np.ndarray, kept: Kept) -> np.ndarray:
    """Returns the values `[S, P, n]` at the places of a smaller grid, `[S, P', n']`; -1 where it has no sample."""
    of_prompts = np.take_along_axis(values, kept.prompts[:, :, None], axis=1)
    return np.where(kept.samples < 0, NONE, np.take_along_axis(of_prompts, np.maximum(kept.samples, 0), axis=2))
