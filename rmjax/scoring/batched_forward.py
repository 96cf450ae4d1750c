"""Tokenized groups -> scores: the one way to run a reward model forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from rmjax.data.batch import BatchShape, Block, Chunk, Example, PackedBatch, build_batch
from rmjax.data.batch_shape import power_of_two, rounded_shape, row_tokens, smallest_shape
from rmjax.data.loader import balance_tokens
from rmjax.data.packing import fitting_row_length, pack_rows, split_into_chunks
from rmjax.models.attention import uses_dense_attention
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import apply_fn
from rmjax.parallel.layout import Layout

# Tokens that one device computes at a time. Enough to fill an accelerator, little enough for its memory; one of a CPU
# is faster with what its caches hold (benchmarks/RESULTS.md), and takes more only where they share one prompt.
TOKENS_PER_SHARD = 8192
TOKENS_PER_CORE = 2048
# No row is made longer than this to hold one prompt's responses, where attention pays for the length of a row.
WIDEST_ROW = 2048
# Groups that are packed together: a longer stream is scored in chunks, so that memory stays bounded.
CHUNK = 2048


class BatchedForward:
    """Packs groups, runs them on every device of the layout, and puts the scores back in order.

    Shapes come from a short list (powers of two), so that requests of any size share a few compilations.

    Args:
        model: the module whose `apply` scores a packed batch.
        layout: where it runs.
        precision: of matrix products, as in `jax.default_matmul_precision`; None for the backend's own.
    """

    def __init__(self, model: RewardTransformer, layout: Layout, precision: str | None = None) -> None:
        self.layout = layout
        self._share_prompts = model.config.causal
        forward = apply_fn(model)

        def apply(params: Any, batch: PackedBatch) -> jax.Array:
            with jax.default_matmul_precision(precision):
                return forward(params, batch)

        self._apply = layout.compile_map(apply)

    def __call__(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        """Scores `[K, Z] float32` of every example, under `params` placed by the layout.

        The score of a response depends on its own prompt and text only. Siblings, order and packing change the order
        of sums, and with it the rounding: in float32 by about 1e-6 of the scores' standard deviation. In bfloat16 a
        sum that lies near the middle of two numbers is rounded the other way: of 40 comparisons, scored together and
        alone by 4 layers of a width of 64, 84 % of the scores were equal and the largest difference was 2.3 % of the
        standard deviation, half of what bfloat16 differs from float32.
        """
        scores: list[np.ndarray] = []
        for start in range(0, len(examples), CHUNK):
            scores += self._score_chunk(params, examples[start : start + CHUNK])
        return scores

    def _score_chunk(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        scores: list[dict[int, np.ndarray]] = [{} for _ in examples]
        index, count = self.layout.process
        computed = []
        for bins in self._plan(examples):
            batch, slots = build_batch(examples, bins, _block_shape(examples, bins))
            mine = slice(index * len(bins) // count, (index + 1) * len(bins) // count)
            # Read after the last one is on its way: the device does not wait for the packing of the next.
            computed.append((slots, self._apply(params, jax.tree.map(lambda x, mine=mine: x[mine], batch))))
        for slots, out in computed:
            out_SxNxZ = np.asarray(out)
            for shard, used in enumerate(slots):
                for n, (example, k) in enumerate(used):
                    scores[example][k] = out_SxNxZ[shard, n]
        return [np.stack([group[k] for k in range(len(group))]) for group in scores]

    def _plan(self, examples: Sequence[Example]) -> Iterator[list[list[list[Chunk]]]]:
        """The rows of every shard, step after step."""
        shards = self.layout.shards
        prompt = max(len(e.prompt) for e in examples)
        widths = [len(e.prompt) + sum(map(len, e.responses)) for e in examples]
        if uses_dense_attention():
            # Wide groups get wider rows, so that a prompt stands in few of them.
            row_length = power_of_two(max(fitting_row_length(examples), min(max(widths), WIDEST_ROW)))
            longest_piece = row_length
        else:
            longest = max(len(e.prompt) + max(map(len, e.responses)) for e in examples)
            shared = min(max(widths), TOKENS_PER_SHARD) if self._share_prompts else 0
            row_length = max(longest, TOKENS_PER_CORE, shared)
            # A wide group is cut, at the price of its prompt, where a device would otherwise have nothing to do.
            longest_piece = min(row_length, max(longest, -(-sum(widths) // shards) + prompt))
        pieces = [
            piece
            for i, example in enumerate(examples)
            for piece in split_into_chunks(i, example, longest_piece, share_prompts=self._share_prompts)
        ]
        rows = pack_rows(pieces, row_length)
        step = shards * (max(1, TOKENS_PER_SHARD // row_length) if uses_dense_attention() else 1)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            bins = [part[shard::shards] for shard in range(shards)]
            if start + step >= len(rows) and not uses_dense_attention():
                bins = _evened(part, shards)
            yield bins


def _evened(rows: Sequence[Sequence[Chunk]], shards: int) -> list[list[list[Chunk]]]:
    """The pieces of the last rows, in one row for each shard, all about equally long."""
    pieces = [piece for row in rows for piece in row]
    dealt = balance_tokens(range(len(pieces)), np.array([piece.width for piece in pieces]), [len(pieces)] * shards)
    return [[[pieces[i] for i in members]] for members in dealt]


def _block_shape(examples: Sequence[Example], blocks: Sequence[Block]) -> BatchShape:
    """Returns a rounded shape that holds every block."""
    row_length = max(row_tokens(row) for block in blocks for row in block)
    return rounded_shape(smallest_shape(examples, blocks, row_length))
