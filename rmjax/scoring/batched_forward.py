"""Batched forward pass: tokenized prompts with their responses -> scores of a reward model, or log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from rmjax.data.batch import BatchShape, Block, Chunk, Example, PackedBatch, build_batch
from rmjax.data.batch_shape import power_of_two, rounded_shape, row_tokens, smallest_shape
from rmjax.data.loader import balance_tokens
from rmjax.data.packing import fitting_row_length, pack_rows, split_into_chunks
from rmjax.models.attention import uses_dense_attention
from rmjax.models.logprobs import next_token_model, response_log_probs
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, apply_fn
from rmjax.parallel.layout import Layout

# Tokens that one device computes at a time: enough to fill an accelerator, few enough for its memory. A core of a CPU
# is fastest with tokens that fit its caches (benchmarks/RESULTS.md); it takes more only if they share one prompt.
TOKENS_PER_SHARD = 8192
TOKENS_PER_CORE = 2048
# Longest row that is made to hold the responses of one prompt, if attention is dense.
WIDEST_ROW = 2048
# Groups that are packed together. More groups are scored in parts of this size, which bounds the memory.
CHUNK = 2048


class BatchedForward:
    """Packs groups, runs them on every device of the layout, and returns the scores in the order of the groups.

    Shapes come from a short list, so requests of all sizes share a few compilations.

    Args:
        model: the module that scores a packed batch. Of a language model, the score of a response is its
            log-probability, the sum over its tokens, in nats.
        layout: the devices to run on.
        precision: of matrix products, as in `jax.default_matmul_precision`; None for the backend's own.

    Attributes:
        rounding: the shape that is compiled for the smallest shape of a batch.
    """

    def __init__(self, model: RewardTransformer | LanguageModel, layout: Layout, precision: str | None = None) -> None:
        self.layout = layout
        self.rounding: Callable[[BatchShape], BatchShape] = rounded_shape
        self._share_prompts = model.config.causal
        forward = _log_probs_fn(model) if isinstance(model, LanguageModel) else apply_fn(model)

        def apply(params: Any, batch: PackedBatch) -> jax.Array:
            with jax.default_matmul_precision(precision):
                return forward(params, batch)

        self._apply = layout.compile_map(apply)

    def __call__(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        """Returns scores `[K, Z] float32` of every example, with `params` laid out by the layout.

        The score of a response depends only on its prompt and its text. Siblings, order and packing change the order of
        sums and so the rounding: in float32 by about 1e-6 of the scores' standard deviation. In bfloat16 a sum near the
        middle of two numbers can be rounded the other way. Of 40 comparisons that 4 layers of width 64 scored together
        and separately, 84 % of the scores were equal, and the largest difference was 2.3 % of the standard deviation:
        half of the difference between bfloat16 and float32.
        """
        scores: list[np.ndarray] = []
        for start in range(0, len(examples), CHUNK):
            scores += self._score_chunk(params, examples[start : start + CHUNK])
        return scores

    def _score_chunk(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        scores: list[dict[int, np.ndarray]] = [{} for _ in examples]
        index, count = self.layout.process
        computed = []
        batches = list(plan_batches(examples, self.layout.shards, share_prompts=self._share_prompts))
        shapes = common_shapes([smallest_block_shape(examples, bins) for bins in batches], self.rounding)
        for bins, shape in zip(batches, shapes, strict=True):
            batch, slots = build_batch(examples, bins, shape)
            mine = slice(index * len(bins) // count, (index + 1) * len(bins) // count)
            # Results are read after the last batch was started, so the device does not wait for packing.
            computed.append((slots, self._apply(params, jax.tree.map(lambda x, mine=mine: x[mine], batch))))
        for slots, out in computed:
            out_SxNxZ = np.asarray(out)
            for shard, used in enumerate(slots):
                for n, (example, k) in enumerate(used):
                    scores[example][k] = out_SxNxZ[shard, n]
        return [np.stack([group[k] for k in range(len(group))]) for group in scores]


def common_shapes(shapes: Sequence[BatchShape], rounding: Callable[[BatchShape], BatchShape]) -> list[BatchShape]:
    """Returns one rounded shape for all batches; a last batch of less than half of its tokens has its own."""
    common = rounding(BatchShape(*map(max, zip(*shapes, strict=True))))
    last = rounding(shapes[-1])
    half_full = 2 * last.rows * last.row_length >= common.rows * common.row_length
    return [common] * (len(shapes) - 1) + [common if half_full else last]


def _log_probs_fn(model: LanguageModel) -> Callable[[Any, PackedBatch], jax.Array]:
    """Returns the function `(params, batch) -> log-probabilities [N, 1]` of a language model."""
    parts = next_token_model(model)
    return lambda params, batch: response_log_probs(parts, params, batch)[:, None]


def plan_batches(
    examples: Sequence[Example], shards: int, *, share_prompts: bool = True
) -> Iterator[list[list[list[Chunk]]]]:
    """Yields the rows of every shard, batch after batch, for forward passes without a gradient."""
    prompt = max(len(e.prompt) for e in examples)
    widths = [len(e.prompt) + sum(map(len, e.responses)) for e in examples]
    if uses_dense_attention():
        # Wide groups get wider rows, so that a prompt is repeated in few of them.
        row_length = power_of_two(max(fitting_row_length(examples), min(max(widths), WIDEST_ROW)))
        longest_piece = row_length
    else:
        longest = max(len(e.prompt) + max(map(len, e.responses)) for e in examples)
        shared = min(max(widths), TOKENS_PER_SHARD) if share_prompts else 0
        row_length = max(longest, TOKENS_PER_CORE, shared)
        # A wide group is divided, although its prompt is then repeated, if a device would otherwise be idle.
        longest_piece = min(row_length, max(longest, -(-sum(widths) // shards) + prompt))
    pieces = [
        piece
        for i, example in enumerate(examples)
        for piece in split_into_chunks(i, example, longest_piece, share_prompts=share_prompts)
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
    """Returns the chunks of the last rows in one row for each shard, with about equal numbers of tokens."""
    pieces = [piece for row in rows for piece in row]
    dealt = balance_tokens(range(len(pieces)), np.array([piece.width for piece in pieces]), [len(pieces)] * shards)
    return [[[pieces[i] for i in members]] for members in dealt]


def block_shape(examples: Sequence[Example], blocks: Sequence[Block]) -> BatchShape:
    """Returns a rounded shape that holds every block."""
    return rounded_shape(smallest_block_shape(examples, blocks))


def smallest_block_shape(examples: Sequence[Example], blocks: Sequence[Block]) -> BatchShape:
    """Returns the smallest shape that holds every block."""
    row_length = max(row_tokens(row) for block in blocks for row in block)
    return smallest_shape(examples, blocks, row_length)
