"""Shapes of packed batches: the smallest one that holds given rows, and rounding to a short list of shapes.

A step is compiled once for every shape. If shapes are rounded, new data of similar size need no new compilation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmjax.data.batch import BatchShape, Block, Example, Row
from rmjax.data.example_table import pair_count


def row_tokens(row: Row) -> int:
    """Returns the number of tokens in a row, padding not counted."""
    return sum(chunk.width for chunk in row)


def smallest_shape(examples: Sequence[Example], blocks: Iterable[Block], row_length: int) -> BatchShape:
    """Returns the smallest shape with rows of `row_length` tokens that holds every block; slots are a multiple of 8."""
    rows = responses = pairs = 1
    for block in blocks:
        chunks = [chunk for row in block for chunk in row]
        rows = max(rows, len(block))
        responses = max(responses, sum(chunk.last - chunk.first for chunk in chunks))
        pairs = max(pairs, sum(pair_count(examples, i) for i in {chunk.example for chunk in chunks}))
    return BatchShape(rows, row_length, _round_up(responses, 8), _round_up(pairs, 8))


def rounded_shape(shape: BatchShape) -> BatchShape:
    """Returns the next larger shape of a short list.

    The row length is at least 128 and a multiple of 64, or of a sixteenth of the next power of two if that is more, so
    that less than an eighth is padding from 512 tokens on. The number of rows is a power of two, so that almost half of
    them may be empty; so are the numbers of slots, which cost little.
    """
    unit = max(64, power_of_two(shape.row_length) // 16)
    return BatchShape(
        rows=power_of_two(shape.rows),
        row_length=max(128, _round_up(shape.row_length, unit)),
        responses=power_of_two(shape.responses),
        pairs=power_of_two(shape.pairs),
    )


def coarse_shape(shape: BatchShape) -> BatchShape:
    """Returns the next larger shape of a shorter list than that of `rounded_shape`, for batches of any size.

    The row length is a power of two or three quarters of one, so that up to a third is padding. It has a slot for every
    eight tokens, and twice as many as often as needed; so a row length usually means one shape.
    """
    longest = power_of_two(max(128, shape.row_length))
    row_length = longest * 3 // 4 if 128 <= shape.row_length <= longest * 3 // 4 else longest
    rows = power_of_two(shape.rows)
    return BatchShape(
        rows=rows,
        row_length=row_length,
        responses=power_of_two(max(shape.responses, rows * row_length // 8)),
        pairs=power_of_two(shape.pairs),
    )


def _round_up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def power_of_two(count: int) -> int:
    """Returns the smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()
