"""The plan of a run in flat arrays: which chunks are in which row of which block of which batch."""

from __future__ import annotations

import array
import itertools
from collections.abc import Sequence
from typing import overload

import numpy as np

from rmjax.data.batch import Block, Chunk

Step = list[list[list[Chunk]]]
"""The blocks of a batch; a block is a list of rows of chunks."""


class Plan(Sequence[Step]):
    """The blocks of every step, about 20 bytes for each chunk; `plan[step]` is made when it is read."""

    def __init__(self) -> None:
        self._chunks = array.array("i")  # example, first, last and width of every chunk
        self.longest_row = 0  # tokens of the fullest row
        self._row_ends, self._block_ends, self._step_ends = (array.array("q", [0]) for _ in range(3))

    def append(self, blocks: Sequence[Block]) -> None:
        """Adds the blocks of the next step."""
        for block in blocks:
            for row in block:
                self._chunks.extend(itertools.chain.from_iterable(row))
                self._row_ends.append(len(self._chunks) // 4)
                self.longest_row = max(self.longest_row, sum(chunk.width for chunk in row))
            self._block_ends.append(len(self._row_ends) - 1)
        self._step_ends.append(len(self._block_ends) - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(each.itemsize * len(each) for each in self._arrays)

    @property
    def chunk_Cx4(self) -> np.ndarray:
        """Example, first response, last response (exclusive) and width of every chunk of all steps."""
        return np.array(self._chunks, np.int32).reshape(-1, 4)

    @property
    def _arrays(self) -> tuple[array.array, ...]:
        return self._chunks, self._row_ends, self._block_ends, self._step_ends

    def __len__(self) -> int:
        return len(self._step_ends) - 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._arrays == other._arrays

    __hash__ = None  # type: ignore[assignment]  # it can grow

    @overload
    def __getitem__(self, step: int) -> Step: ...
    @overload
    def __getitem__(self, step: slice) -> list[Step]: ...
    def __getitem__(self, step: int | slice) -> Step | list[Step]:
        if isinstance(step, slice):
            return [self[i] for i in range(*step.indices(len(self)))]
        if not -len(self) <= step < len(self):
            raise IndexError(step)
        step %= len(self)
        return [
            [
                [Chunk(*self._chunks[4 * i : 4 * i + 4]) for i in range(self._row_ends[r], self._row_ends[r + 1])]
                for r in range(self._block_ends[b], self._block_ends[b + 1])
            ]
            for b in range(self._step_ends[step], self._step_ends[step + 1])
        ]
