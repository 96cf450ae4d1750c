"""A deterministic, sharded, resumable stream of packed batches.

Everything is planned from lengths and (seed, epoch) before the first step, identically in every process: which
comparisons form which batch, on which shard and row each lies, and one compiled shape that holds them all. Step n's
batch can therefore be rebuilt at any time, and resuming needs nothing but n.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from rmjax.data.batch import BatchShape, Chunk, Example, PackedBatch, build_batch
from rmjax.data.packing import fitting_row_length, pack_rows, split_into_chunks

# Batches whose tokens are evened out together. Within a window comparisons change places between batches so that all
# need the same number of rows; a larger window packs tighter, a smaller one stays closer to the shuffled order.
WINDOW = 32
# Batches that a row length is tried on.
SAMPLE = 128
# A row length that no batch reaches.
ENDLESS = 2**31

Bins = list[list[list[Chunk]]]


class BatchStream:
    """The batches of a training run: `stream[step]` for `step < len(stream)`.

    An epoch shows every comparison exactly once, in as few batches of at most `batch_size` comparisons as hold them.
    The batches differ by at most one comparison, whatever the packing did (see `plan_epoch`).

    Args:
        examples: what is trained on.
        batch_size: comparisons in a batch at most, over all devices and processes.
        epochs: how often every comparison is shown.
        row_length: L, tokens in a row; 0 fits it to the examples.
        single_row: with `row_length` 0, one row as long as the fullest part of a batch needs: nothing is lost at the
            ends of rows. For attention that does not pay for the length of a row.
        microbatches: M equal parts that a batch is computed in; their gradients are summed.
        shards: devices that share a batch.
        seed: fixes the order, together with the epoch.
        share_prompts: False repeats the prompt before every response.
        process: (index, count); a process builds only its own contiguous block of shards.
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
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.examples = examples
        self.microbatches, self.shards = microbatches, shards
        index, count = process
        self._mine = slice(index * shards // count * microbatches, (index + 1) * shards // count * microbatches)
        single_row = single_row and not row_length
        if single_row:
            row_length = ENDLESS
        elif not row_length:
            row_length = self._fullest(batch_size=batch_size, share_prompts=share_prompts, seed=seed)
        pieces = [split_into_chunks(i, e, row_length, share_prompts=share_prompts) for i, e in enumerate(examples)]
        tokens = np.array([sum(piece.width for piece in group) for group in pieces])
        self.plan: list[Bins] = []
        for epoch in range(epochs):
            for members in plan_epoch(tokens, batch_size, np.random.default_rng((seed, epoch))):
                bins = balance_tokens(members, tokens, [len(members)] * (shards * microbatches))
                self.plan.append([pack_rows([p for i in bin_ for p in pieces[i]], row_length) for bin_ in bins])
        if single_row:
            row_length = -(-max(tokens_in(row) for bins in self.plan for rows in bins for row in rows) // 64) * 64
        self.shape = shape_of(examples, self.plan, row_length)

    def _fullest(self, *, batch_size: int, **settings: Any) -> int:
        """The row length, up to twice the fitting one, at which the first batches compute the fewest tokens.

        A part of a batch is a whole number of rows, and that of a device only a few: what matters is how well they go.
        """
        some, shortest = self.examples[: SAMPLE * batch_size], fitting_row_length(self.examples)

        def computed(row_length: int) -> int:
            parts = {"shards": self.shards, "microbatches": self.microbatches, "batch_size": batch_size, "epochs": 1}
            return BatchStream(some, row_length=row_length, **parts, **settings).shape.rows * row_length

        return min(range(shortest, 2 * shortest + 1, 64), key=computed)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> PackedBatch:
        """Step's batch, every array `[shards of this process, M, ...]`."""
        batch, _ = build_batch(self.examples, self.plan[step][self._mine], self.shape)
        return jax.tree.map(lambda x: x.reshape(-1, self.microbatches, *x.shape[1:]), batch)

    def prefetch(self, start: int, stop: int) -> Iterator[PackedBatch]:
        """Batches `start` to `stop`, each built by a thread while the device computes the one before."""
        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(self.__getitem__, start) if start < stop else None
            for step in range(start, stop):
                batch = ahead.result()
                if step + 1 < stop:
                    ahead = thread.submit(self.__getitem__, step + 1)
                yield batch

    def statistics(self) -> dict[str, float]:
        """How full the rows are and what sharing prompts saves, over the whole plan.

        `padding` is the share of computed tokens that are padding; `sharing` the tokens that repeating every prompt
        would take, divided by the tokens packed; `ideal_sharing` the same if no comparison had to be cut between rows.
        """
        once = sum(len(e.prompt) + sum(map(len, e.responses)) for e in self.examples)
        again = sum((len(e.responses) - 1) * len(e.prompt) for e in self.examples)
        pieces = [piece for bins in self.plan for rows in bins for row in rows for piece in row]
        packed = sum(piece.width for piece in pieces)
        repeated = packed + sum((p.last - p.first - 1) * len(self.examples[p.example].prompt) for p in pieces)
        computed = len(self.plan) * self.shards * self.microbatches * self.shape.rows * self.shape.row_length
        return {
            "padding": 1 - packed / computed,
            "sharing": repeated / packed,
            "ideal_sharing": (once + again) / once,
        }


def plan_epoch(tokens: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """Example indices of every batch of an epoch: shuffled, then evened out by tokens within windows of batches.

    N examples make ⌈N / batch_size⌉ batches whose sizes differ by at most one. Adam's step does not shrink with its
    batch, so a last batch of the one or two examples left over would move the weights as far as a full one.
    """
    batches = np.array_split(rng.permutation(len(tokens)), -(-len(tokens) // batch_size))
    # Windows of equal size, so that the last is not so small that nothing evens it out.
    size = -(-len(batches) // -(-len(batches) // WINDOW))
    result: list[list[int]] = []
    for start in range(0, len(batches), size):
        window = batches[start : start + size]
        groups = balance_tokens(np.concatenate(window), tokens, [len(batch) for batch in window])
        result += [groups[i] for i in rng.permutation(len(groups))]
    return result


def balance_tokens(members: Sequence[int], tokens: np.ndarray, sizes: Sequence[int]) -> list[list[int]]:
    """Deals members to groups of these sizes, the tokens of each in proportion to its size as nearly as can be.

    Longest first, to the group that is lightest for its size and has room.
    """
    groups: list[list[int]] = [[] for _ in sizes]
    heap = [(0.0, part) for part in range(len(sizes))]
    for member in sorted((int(m) for m in members), key=lambda m: (-tokens[m], m)):
        weight, part = heapq.heappop(heap)
        groups[part].append(member)
        if len(groups[part]) < sizes[part]:
            heapq.heappush(heap, (weight + int(tokens[member]) / sizes[part], part))
    return groups


def tokens_in(row: Sequence[Chunk]) -> int:
    """How many tokens the pieces of a row have together."""
    return sum(piece.width for piece in row)


def shape_of(examples: Sequence[Example], plan: Sequence[Bins], row_length: int) -> BatchShape:
    """The smallest shape that holds every bin of the plan; slots are rounded up to a multiple of 8."""
    rows = responses = pairs = 1
    for bins in plan:
        for bin_ in bins:
            pieces = [piece for row in bin_ for piece in row]
            rows = max(rows, len(bin_))
            responses = max(responses, sum(piece.last - piece.first for piece in pieces))
            pairs = max(pairs, sum(len(examples[i].weight) for i in {piece.example for piece in pieces}))
    return BatchShape(rows, row_length, -(-responses // 8) * 8, -(-pairs // 8) * 8)
