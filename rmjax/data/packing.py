"""Tokenized comparisons -> `PackedBatch`: rows of tokens in which every prompt is computed once.

A row of L tokens holds whole comparisons, each laid out as prompt, response 1, ..., response K. Positions restart after
the prompt for every response, and a token sees its own prompt and its own response only (`parents` and `segments`
below). For a causal trunk that equals running every (prompt, response) alone, at the cost of one prompt instead of K.

    tokens     p p p p a a a b b  q q c c c d
    positions  0 1 2 3 4 5 6 4 5  0 1 2 3 4 2
    segments   1 1 1 1 2 2 2 3 3  4 4 5 5 5 6     0 marks padding
    parents    1 1 1 1 1 1 1 1 1  4 4 4 4 4 4

A comparison too wide for a row is cut between responses and its prompt stands again in each part.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from rmjax.errors import InputError


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One comparison as ids: a prompt, K responses, and the pairs among them that the loss may use.

    `prompt` is `[T] int32`, every response `[T] int32` with EOS last. The pair arrays are `[P]`: positions of winner
    and loser, `tied`, `margin`, `weight` (the weights of a comparison sum to 1, or P is 0). `ratings` is `[K]` or None,
    and so is `unsafe`, bool.
    """

    prompt: np.ndarray
    responses: tuple[np.ndarray, ...]
    head: int = 0
    ratings: np.ndarray | None = None
    unsafe: np.ndarray | None = None
    winner: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    loser: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    tied: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    margin: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    weight: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PackedBatch:
    """What a device computes on. Indices are local to a shard; any number of leading axes may stand before these.

    Attributes:
        tokens_RxL: int32 ids; padding holds 0 and is never read.
        positions_RxL: int32, as if every response stood alone behind its prompt.
        segments_RxL: int32, unique in a row for every prompt and response; 0 is padding.
        prompt_segments_RxL: int32, the segment of the prompt that a token belongs to.
        score_index_N: int32 index into the flattened rows where the score of each response is read (its EOS).
        head_N: int32 index of the head that the response is scored with.
        rating_N: float32 absolute rating; 0 where there is none.
        unsafe_N: bool; False where nothing is known.
        safety_weight_N: float32, 0 where it is not known whether the response is unsafe; else the weight of its
            comparison, shared equally among its K responses.
        response_mask_N: float32, 1 for a response and 0 for an empty slot.
        winner_P: int32 slot of the preferred response of each pair.
        loser_P: int32 slot of the other.
        tied_P: bool, the two were judged equal.
        margin_P: float32 >= 0.
        weight_P: float32; 0 in an empty slot. The weights of a comparison sum to 1.
    """

    tokens_RxL: np.ndarray
    positions_RxL: np.ndarray
    segments_RxL: np.ndarray
    prompt_segments_RxL: np.ndarray
    score_index_N: np.ndarray
    head_N: np.ndarray
    rating_N: np.ndarray
    unsafe_N: np.ndarray
    safety_weight_N: np.ndarray
    response_mask_N: np.ndarray
    winner_P: np.ndarray
    loser_P: np.ndarray
    tied_P: np.ndarray
    margin_P: np.ndarray
    weight_P: np.ndarray


class Chunk(NamedTuple):
    """Responses `first` to `last` (exclusive) of one example behind its prompt: `width` tokens that stay together."""

    example: int
    first: int
    last: int
    width: int


class BatchShape(NamedTuple):
    """The compiled size of one shard: R rows of L tokens, N response slots, P pair slots."""

    rows: int
    row_length: int
    responses: int
    pairs: int


def split_into_chunks(index: int, example: Example, row_length: int, *, share_prompts: bool = True) -> list[Chunk]:
    """The pieces of an example: one if it fits a row, else as few as the order of its responses allows.

    With `share_prompts=False` every response carries its own copy of the prompt.

    Raises:
        InputError: one prompt with one response alone is longer than a row.
    """
    prompt = len(example.prompt)
    pieces, first, width = [], 0, prompt
    for k, response in enumerate(example.responses):
        if prompt + len(response) > row_length:
            raise InputError(
                f"a prompt of {prompt} and a response of {len(response)} tokens do not fit a row of {row_length}: "
                "raise row_length or lower tokenizer.max_prompt and tokenizer.max_response"
            )
        if k > first and (width + len(response) > row_length or not share_prompts):
            pieces.append(Chunk(index, first, k, width))
            first, width = k, prompt
        width += len(response)
    return [*pieces, Chunk(index, first, len(example.responses), width)]


def fitting_row_length(examples: Sequence[Example]) -> int:
    """A row length for these examples: a multiple of 64, at least 128, that holds the longest prompt with one response.

    It also holds a typical comparison about twice over, so that rows fill well and few prompts are repeated, yet no
    more than that: attention over a row pays for the square of its length.
    """
    longest = max(len(e.prompt) + max(len(response) for response in e.responses) for e in examples)
    mean = sum(len(e.prompt) + sum(len(response) for response in e.responses) for e in examples) / len(examples)
    return max(-(-longest // 64), int(min(2 * mean, 512) // 64), 2) * 64


def pack_rows(pieces: Sequence[Chunk], row_length: int) -> list[list[Chunk]]:
    """Best-fit decreasing bin packing: the widest piece first, each into the fullest row that still holds it.

    At most 11/9 of the optimum plus four rows (Johnson 1973). Equal widths keep their order, so the result is fixed.
    """
    rows: list[list[Chunk]] = []
    free: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for piece in sorted(pieces, key=lambda piece: -piece.width):
        at = bisect.bisect_left(free, (piece.width, -1))
        if at < len(free):
            space, row = free.pop(at)
        else:
            space, row = row_length, len(rows)
            rows.append([])
        rows[row].append(piece)
        bisect.insort(free, (space - piece.width, row))
    return rows


def build_batch(
    examples: Sequence[Example], bins: Sequence[Sequence[Sequence[Chunk]]], shape: BatchShape
) -> tuple[PackedBatch, list[list[tuple[int, int]]]]:
    """Writes the rows of every bin (a shard of one microbatch) into arrays `[bins, ...]` of the given shape.

    Returns:
        The batch as NumPy arrays, and for every bin the (example, response) that each used slot of N holds.
    """
    B, R, L, N, P = len(bins), *shape
    tokens, positions, segments, parents = (np.zeros((B, R, L), np.int32) for _ in range(4))
    read_at, head, winner, loser = (np.zeros((B, size), np.int32) for size in (N, N, P, P))
    rating, labelled, real, margin, weight = (np.zeros((B, size), np.float32) for size in (N, N, N, P, P))
    unsafe, tied = np.zeros((B, N), bool), np.zeros((B, P), bool)
    slots: list[list[tuple[int, int]]] = []
    for b, rows in enumerate(bins):
        slot_of: dict[tuple[int, int], int] = {}
        for r, row in enumerate(rows):
            at, segment = 0, 0
            for piece in row:
                example = examples[piece.example]
                T = len(example.prompt)
                segment += 1
                parent = segment
                prompt = slice(at, at + T)
                tokens[b, r, prompt] = example.prompt
                positions[b, r, prompt] = np.arange(T)
                segments[b, r, prompt] = parent
                at += T
                for k in range(piece.first, piece.last):
                    response = example.responses[k]
                    segment += 1
                    here = slice(at, at + len(response))
                    tokens[b, r, here] = response
                    positions[b, r, here] = np.arange(T, T + len(response))
                    segments[b, r, here] = segment
                    at += len(response)
                    n = slot_of[piece.example, k] = len(slot_of)
                    read_at[b, n] = r * L + at - 1
                    head[b, n] = example.head
                    real[b, n] = 1.0
                    if example.ratings is not None:
                        rating[b, n] = example.ratings[k]
                    if example.unsafe is not None:
                        unsafe[b, n] = example.unsafe[k]
                        labelled[b, n] = example.weight.sum() / len(example.responses)
                parents[b, r, prompt.start : at] = parent
        p = 0
        for index in dict.fromkeys(example for example, _ in slot_of):
            example = examples[index]
            end = p + len(example.weight)
            winner[b, p:end] = [slot_of[index, int(k)] for k in example.winner]
            loser[b, p:end] = [slot_of[index, int(k)] for k in example.loser]
            tied[b, p:end], margin[b, p:end], weight[b, p:end] = example.tied, example.margin, example.weight
            p = end
        slots.append(list(slot_of))
    by_row = (tokens, positions, segments, parents)
    by_response = (read_at, head, rating, unsafe, labelled, real)
    by_pair = (winner, loser, tied, margin, weight)
    return PackedBatch(*by_row, *by_response, *by_pair), slots
