"""A deterministic, sharded, resumable stream of packed batches.

The whole run is planned from lengths and (seed, epoch) before the first step, identically in every process: the
comparisons of every batch, the shard and the row of each comparison, and one compiled shape that holds all batches. So
the batch of any step can be built at any time, and resuming needs only the number of the step.
"""

from __future__ import annotations

import array
import heapq
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from rmjax.data.batch import BatchShape, Chunk, Example, PackedBatch, build_batch
from rmjax.data.batch_shape import row_tokens, smallest_shape
from rmjax.data.example_table import text_lengths
from rmjax.data.packing import fitting_row_length, pack_rows, split_lengths
from rmjax.data.plan import Plan
from rmjax.errors import InputError

# Batches among which tokens are balanced. Within a window comparisons are exchanged between batches, so that all need
# the same number of rows; a larger window packs tighter, a smaller one stays closer to the shuffled order.
WINDOW = 32
# Batches on which a row length is tried.
SAMPLE = 128
# A row length that no batch reaches.
UNLIMITED = 2**31


class BatchStream:
    """The batches of a training run: `stream[step]` for `step < len(stream)`.

    An epoch has every comparison exactly once, in the smallest number of batches of at most `batch_size` comparisons.
    The sizes of the batches differ by at most one comparison, for any packing (see `plan_epoch`).

    Args:
        examples: the training data.
        batch_size: the largest number of comparisons in a batch, over all devices and processes.
        epochs: number of passes over the data.
        row_length: L, tokens in a row; 0 fits it to the examples.
        single_row: with `row_length` 0, one row that is as long as the largest block needs, so that no tokens are lost
            at the ends of rows. For attention whose cost does not grow with the length of a row.
        microbatches: M equal parts that a batch is computed in; their gradients are summed.
        shards: devices that share a batch.
        seed: determines the order, together with the epoch.
        share_prompts: False repeats the prompt before every response.
        shape: the shape of all batches, usually from `rounded_shape`, so that several streams share one compiled step.
            None fits it to the plan.
        process: (index, count); a process builds only its own contiguous range of shards.

    Attributes:
        plan: for every step the blocks of the batch, M after M for each shard; a block is a list of rows of chunks.
        nbytes: the bytes of the plan.
        shape: the shape of every block.

    Raises:
        InputError: a batch does not fit into `shape`, or `row_length` is another than that of `shape`.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        batch_size: int,
        epochs: int,
        row_length: int,
        seed: int,
        microbatches: int = 1,
        shards: int = 1,
        share_prompts: bool = True,
        single_row: bool = False,
        shape: BatchShape | None = None,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.examples = examples
        self.microbatches, self.shards = microbatches, shards
        index, count = process
        self._own_blocks = slice(index * shards // count * microbatches, (index + 1) * shards // count * microbatches)
        if shape and row_length not in (0, shape.row_length):
            raise InputError(f"row_length is {row_length}, but the given shape has rows of {shape.row_length}")
        row_length = shape.row_length if shape else row_length
        single_row = single_row and not row_length
        if single_row:
            row_length = UNLIMITED
        elif not row_length:
            row_length = self._best_row_length(batch_size=batch_size, share_prompts=share_prompts, seed=seed)
        # Flat arrays, since a list of the chunks of every example would take more memory than the examples.
        numbers, ends, lengths = array.array("i"), array.array("q", [0]), text_lengths(examples)
        tokens = np.zeros(len(examples), np.int64)
        for i, (prompt, responses) in enumerate(lengths):
            split = split_lengths(i, prompt, responses, row_length, share_prompts=share_prompts)
            tokens[i] = row_tokens(split)
            numbers.extend(itertools.chain.from_iterable(split))
            ends.append(len(numbers))

        def chunks_of(example: int) -> list[Chunk]:
            return [Chunk(*numbers[i : i + 4]) for i in range(ends[example], ends[example + 1], 4)]

        self.plan = Plan()
        for epoch in range(epochs):
            for batch in plan_epoch(tokens, batch_size, np.random.default_rng((seed, epoch))):
                groups = balance_tokens(batch, tokens, [len(batch)] * (shards * microbatches))
                self.plan.append([pack_rows([c for i in group for c in chunks_of(i)], row_length) for group in groups])
        if single_row:
            longest = self.plan.longest_row
            row_length = -(-longest // 64) * 64
        needed = smallest_shape(examples, (block for step in self.plan for block in step), row_length)
        if shape and any(size > limit for size, limit in zip(needed, shape, strict=True)):
            raise InputError(f"the batches need the shape {needed}, which does not fit into the given {shape}")
        self.shape = shape or needed

    def _best_row_length(self, *, batch_size: int, **settings: Any) -> int:
        """Returns the row length at which the first batches compute the fewest tokens, padding included.

        Candidates reach from the fitting row length to twice that. A block has a whole number of rows, often only a
        few, so the padding depends on how many comparisons happen to fit into a row.
        """
        sample, shortest = self.examples[: SAMPLE * batch_size], fitting_row_length(self.examples)

        def computed_tokens(row_length: int) -> int:
            stream = BatchStream(
                sample,
                row_length=row_length,
                batch_size=batch_size,
                epochs=1,
                shards=self.shards,
                microbatches=self.microbatches,
                **settings,
            )
            return stream.shape.rows * row_length

        return min(range(shortest, 2 * shortest + 1, 64), key=computed_tokens)

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def nbytes(self) -> int:
        return self.plan.nbytes

    def __getitem__(self, step: int) -> PackedBatch:
        """Returns the batch of a step, every array `[shards of this process, M, ...]`."""
        batch, _ = build_batch(self.examples, self.plan[step][self._own_blocks], self.shape)
        return jax.tree.map(lambda x: x.reshape(-1, self.microbatches, *x.shape[1:]), batch)

    def prefetch(self, start: int, stop: int) -> Iterator[PackedBatch]:
        """Yields the batches `start` to `stop` (exclusive), each built by a thread during the step before it."""
        if start >= stop:
            return
        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(self.__getitem__, start)
            for step in range(start, stop):
                batch = ahead.result()
                if step + 1 < stop:
                    ahead = thread.submit(self.__getitem__, step + 1)
                yield batch

    def statistics(self) -> dict[str, float]:
        """Returns how full the rows are and how much sharing prompts saves, over the whole plan.

        `padding` is the fraction of computed tokens that are padding; `sharing` is the number of tokens if every prompt
        was repeated for each of its responses, divided by the number of tokens packed; `ideal_sharing` is the same if
        no comparison had to be cut between rows.
        """
        sizes = [(prompt, len(responses), sum(responses)) for prompt, responses in text_lengths(self.examples)]
        prompt_E, count_E, answers_E = np.array(sizes, np.int64).reshape(-1, 3).T
        shared, saved = int((prompt_E + answers_E).sum()), int(((count_E - 1) * prompt_E).sum())
        example_C, first_C, last_C, width_C = self.plan.chunk_Cx4.astype(np.int64).T
        packed = int(width_C.sum())
        repeated = packed + int(((last_C - first_C - 1) * prompt_E[example_C]).sum())
        computed = len(self.plan) * self.shards * self.microbatches * self.shape.rows * self.shape.row_length
        return {
            "padding": 1 - packed / computed,
            "sharing": repeated / packed,
            "ideal_sharing": (shared + saved) / shared,
        }


def plan_epoch(tokens: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """Returns the example indices of every batch of an epoch: shuffled, then balanced by tokens within windows.

    N examples make ⌈N / batch_size⌉ batches whose sizes differ by at most one. The length of Adam's step does not
    depend on the size of the batch, so a last batch of one or two remaining examples would change the weights as much
    as a full one.
    """
    batches = np.array_split(rng.permutation(len(tokens)), -(-len(tokens) // batch_size))
    # Windows of equal size: a short last window could not be balanced.
    size = -(-len(batches) // -(-len(batches) // WINDOW))
    result: list[list[int]] = []
    for start in range(0, len(batches), size):
        window = batches[start : start + size]
        groups = balance_tokens(np.concatenate(window).tolist(), tokens, [len(batch) for batch in window])
        result += [groups[i] for i in rng.permutation(len(groups))]
    return result


def balance_tokens(members: Sequence[int], tokens: np.ndarray, sizes: Sequence[int]) -> list[list[int]]:
    """Returns the members in groups of at most these sizes, the tokens of each group about proportional to its size.

    The longest members are assigned first, each to the group with the fewest tokens for its size that has room.
    """
    groups: list[list[int]] = [[] for _ in sizes]
    heap = [(0.0, group) for group in range(len(sizes))]
    for member in sorted((int(m) for m in members), key=lambda m: (-tokens[m], m)):
        load, group = heapq.heappop(heap)
        groups[group].append(member)
        if len(groups[group]) < sizes[group]:
            heapq.heappush(heap, (load + int(tokens[member]) / sizes[group], group))
    return groups
