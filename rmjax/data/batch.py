"""Packed batches: `Example`s written into arrays of a fixed shape, in which every prompt is computed once.

A row of L tokens holds whole comparisons, each as prompt, response 1, ..., response K. Positions restart after the
prompt for every response, and a token sees only its own prompt and its own response (`prompt_segments` and `segments`
below). For a causal trunk that equals one forward pass for every (prompt, response), at the cost of one prompt instead
of K.

    tokens            p p p p a a a b b  q q c c c d
    positions         0 1 2 3 4 5 6 4 5  0 1 2 3 4 2
    segments          1 1 1 1 2 2 2 3 3  4 4 5 5 5 6     0 marks padding
    prompt_segments   1 1 1 1 1 1 1 1 1  4 4 4 4 4 4

`rmjax.data.packing` decides which part of which example goes into which row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """One comparison as token ids: a prompt, K responses, and the pairs among them that the loss uses.

    Attributes:
        prompt: ids of the prompt, `[T] int32`.
        responses: ids of every response, `[T_k] int32`, EOS last.
        head: index of the head that scores the responses.
        ratings: absolute rating of every response, `[K]`, or None.
        unsafe: bool label of every response, `[K]`, or None if unknown.
        winner: index of the preferred response of every pair, `[P]`.
        loser: index of the other response, `[P]`.
        tied: bool, the two were judged equal, `[P]`.
        margin: margin of every pair, `[P]`.
        weight: weight of every pair, `[P]`; the weights of a comparison sum to 1, or P is 0.
        per_token: further values of the response tokens by name, for example old log-probabilities: one float32
            array `[T_k]` for every response.

    Raises:
        ValueError: an array of `per_token` does not have one value for every token of its response.
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
    per_token: Mapping[str, tuple[np.ndarray, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, arrays in self.per_token.items():
            found, expected = [np.shape(array) for array in arrays], [np.shape(ids) for ids in self.responses]
            if found != expected:
                raise ValueError(f"per_token[{name!r}] has arrays of the shapes {found} for responses of {expected}")


class Chunk(NamedTuple):
    """Responses `first` to `last` (exclusive) of one example with their prompt: `width` tokens that share a row."""

    example: int
    first: int
    last: int
    width: int


Row = Sequence[Chunk]
Block = Sequence[Row]
"""The rows of one microbatch on one shard."""


class BatchShape(NamedTuple):
    """The compiled size of a block: R rows of L tokens, N response slots, P pair slots."""

    rows: int
    row_length: int
    responses: int
    pairs: int


AnyArray = np.ndarray | jax.Array
"""The arrays of a batch: NumPy on the host, JAX inside compiled functions."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResponseSlots:
    """The responses of a block, one in each used slot.

    Attributes:
        score_index_N: int32 index into the flattened rows `[R * L]` of the token that gives the score: the EOS.
        head_N: int32 index of the head that scores the response.
        rating_N: float32 absolute rating; 0 if there is none.
        unsafe_N: bool; False if unknown.
        safety_weight_N: float32 weight in the safety loss: the weight of the comparison, shared equally among its K
            responses; 0 if it is unknown whether the response is unsafe.
        response_mask_N: float32, 1 for a response and 0 for an empty slot.
    """

    score_index_N: AnyArray
    head_N: AnyArray
    rating_N: AnyArray
    unsafe_N: AnyArray
    safety_weight_N: AnyArray
    response_mask_N: AnyArray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PairSlots:
    """The pairs of a block, one in each used slot.

    Attributes:
        winner_P: int32 slot of the preferred response.
        loser_P: int32 slot of the other response.
        tied_P: bool, the two were judged equal.
        margin_P: float32 >= 0.
        weight_P: float32; 0 in an empty slot. The weights of a comparison sum to 1.
    """

    winner_P: AnyArray
    loser_P: AnyArray
    tied_P: AnyArray
    margin_P: AnyArray
    weight_P: AnyArray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PackedBatch:
    """The input of a step. Indices are local to a block; the arrays may have any number of leading axes.

    Attributes:
        tokens_RxL: int32 ids; padding is 0 and never read.
        positions_RxL: int32 position in the text of the prompt and this response alone.
        segments_RxL: int32, different for every prompt and response of a row; 0 is padding.
        prompt_segments_RxL: int32, the segment of the prompt that a token belongs to.
        responses: the arrays of N response slots.
        pairs: the arrays of P pair slots.
        per_token: float32 arrays `[R, L]` by name: the values of `Example.per_token` at the tokens of the responses, 0
            at all other tokens.
    """

    tokens_RxL: AnyArray
    positions_RxL: AnyArray
    segments_RxL: AnyArray
    prompt_segments_RxL: AnyArray
    responses: ResponseSlots
    pairs: PairSlots
    per_token: dict[str, AnyArray] = dataclasses.field(default_factory=dict)


def build_batch(
    examples: Sequence[Example], blocks: Sequence[Block], shape: BatchShape
) -> tuple[PackedBatch, list[list[tuple[int, int]]]]:
    """Writes blocks of rows into arrays `[blocks, ...]` of the given shape.

    Returns:
        The batch as NumPy arrays, and for every block the (example, response) of each used response slot.

    Raises:
        ValueError: the examples do not all have `per_token` arrays of the same names.
    """
    names = list(examples[0].per_token) if examples else []
    batch = _empty_batch(len(blocks), shape, names)
    # An example may be made when it is read (rmjax.data.example_table), so it is read once.
    used = {index: examples[index] for index in {chunk.example for b in blocks for row in b for chunk in row}}
    slots = []
    for index, block in enumerate(blocks):
        views = jax.tree.map(lambda array, index=index: array[index], batch)
        score_index = _write_tokens(views, used, block)
        _write_responses(views.responses, used, score_index)
        _write_pairs(views.pairs, used, list(score_index))
        slots.append(list(score_index))
    return batch, slots


def _empty_batch(blocks: int, shape: BatchShape, names: Sequence[str]) -> PackedBatch:
    R, L, N, P = shape

    def zeros(size: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
        return np.zeros((blocks, *size), dtype)

    return PackedBatch(
        tokens_RxL=zeros((R, L), np.int32),
        positions_RxL=zeros((R, L), np.int32),
        segments_RxL=zeros((R, L), np.int32),
        prompt_segments_RxL=zeros((R, L), np.int32),
        responses=ResponseSlots(
            score_index_N=zeros((N,), np.int32),
            head_N=zeros((N,), np.int32),
            rating_N=zeros((N,)),
            unsafe_N=zeros((N,), bool),
            safety_weight_N=zeros((N,)),
            response_mask_N=zeros((N,)),
        ),
        pairs=PairSlots(
            winner_P=zeros((P,), np.int32),
            loser_P=zeros((P,), np.int32),
            tied_P=zeros((P,), bool),
            margin_P=zeros((P,)),
            weight_P=zeros((P,)),
        ),
        per_token={name: zeros((R, L)) for name in names},
    )


def _write_tokens(batch: PackedBatch, examples: Mapping[int, Example], block: Block) -> dict[tuple[int, int], int]:
    """Writes the arrays `[R, L]`. Returns (example, response) -> score index, in the order of the response slots."""
    score_index: dict[tuple[int, int], int] = {}
    for r, row in enumerate(block):
        start, segment = 0, 1
        for chunk in row:
            example = examples[chunk.example]
            responses = example.responses[chunk.first : chunk.last]
            T, lengths = len(example.prompt), [len(response) for response in responses]
            here = slice(start, start + chunk.width)
            batch.tokens_RxL[r, here] = np.concatenate([example.prompt, *responses])
            batch.positions_RxL[r, here] = np.concatenate([np.arange(T), *(np.arange(T, T + n) for n in lengths)])
            batch.segments_RxL[r, here] = np.repeat(np.arange(segment, segment + 1 + len(responses)), [T, *lengths])
            batch.prompt_segments_RxL[r, here] = segment
            if example.per_token.keys() != batch.per_token.keys():
                raise ValueError(f"per_token is {list(example.per_token)} here and {list(batch.per_token)} elsewhere")
            for name, arrays in example.per_token.items():
                batch.per_token[name][r, start + T : here.stop] = np.concatenate(arrays[chunk.first : chunk.last])
            ends = r * batch.tokens_RxL.shape[1] + start + T + np.cumsum(lengths)
            for k, end in enumerate(ends.tolist(), start=chunk.first):
                score_index[chunk.example, k] = end - 1
            start, segment = here.stop, segment + 1 + len(responses)
    return score_index


def _write_responses(
    slots: ResponseSlots, examples: Mapping[int, Example], score_index: Mapping[tuple[int, int], int]
) -> None:
    for n, ((index, k), position) in enumerate(score_index.items()):
        example = examples[index]
        slots.score_index_N[n] = position
        slots.head_N[n] = example.head
        slots.response_mask_N[n] = 1.0
        if example.ratings is not None:
            slots.rating_N[n] = example.ratings[k]
        if example.unsafe is not None:
            slots.unsafe_N[n] = example.unsafe[k]
            slots.safety_weight_N[n] = example.weight.sum() / len(example.responses)


def _write_pairs(slots: PairSlots, examples: Mapping[int, Example], responses: Sequence[tuple[int, int]]) -> None:
    slot = {response: n for n, response in enumerate(responses)}
    start = 0
    for index in dict.fromkeys(example for example, _ in responses):
        example = examples[index]
        here = slice(start, start + len(example.weight))
        slots.winner_P[here] = [slot[index, int(k)] for k in example.winner]
        slots.loser_P[here] = [slot[index, int(k)] for k in example.loser]
        slots.tied_P[here], slots.margin_P[here], slots.weight_P[here] = example.tied, example.margin, example.weight
        start = here.stop
