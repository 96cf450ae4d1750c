"""Tokenized groups -> scores: the one way to run a reward model forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from rmjax.data.packing import Example, PackedBatch, Piece, Shape, fill, fitting_row_length, pack_rows, split_pieces
from rmjax.models.attention import pays_for_row_length
from rmjax.models.parallel import AXIS, Pmap
from rmjax.models.reward import RewardTransformer

# Tokens that one device computes at a time. Enough to fill a small machine, little enough for its memory.
TOKENS_PER_SHARD = 8192
# Groups that are packed together: a longer stream is scored in chunks, so that memory stays bounded.
CHUNK = 2048


class Scorer:
    """Packs groups, runs them on every device of the layout, and puts the scores back in order.

    Shapes come from a short list (powers of two), so that requests of any size share a few compilations.

    Args:
        model: the module whose `apply` scores a packed batch.
        layout: where it runs.
        precision: of matrix products, as in `jax.default_matmul_precision`; None for the backend's own.
    """

    def __init__(self, model: RewardTransformer, layout: Pmap, precision: str | None = None) -> None:
        self.layout = layout
        self._share_prompts = model.config.causal

        def apply(params: Any, batch: PackedBatch) -> jax.Array:
            with jax.default_matmul_precision(precision):
                return model.apply({"params": params}, batch)

        self._apply = jax.pmap(apply, axis_name=AXIS, devices=layout.devices)

    def __call__(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        """Scores `[K, Z] float32` of every example, under replicated `params`.

        The score of a response depends on its own prompt and text only; siblings, order and packing change it by
        float32 rounding at most.
        """
        scores: list[np.ndarray] = []
        for start in range(0, len(examples), CHUNK):
            scores += self._score_chunk(params, examples[start : start + CHUNK])
        return scores

    def _score_chunk(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        scores: list[dict[int, np.ndarray]] = [{} for _ in examples]
        row_length = _power(fitting_row_length(examples))
        if not pays_for_row_length():
            row_length = max(row_length, TOKENS_PER_SHARD)
        for bins in self._plan(examples, row_length):
            batch, slots = fill(examples, bins, _bucket(bins))
            out_SxNxZ = np.asarray(self._apply(params, batch))
            for shard, used in enumerate(slots):
                for n, (example, k) in enumerate(used):
                    scores[example][k] = out_SxNxZ[shard, n]
        return [np.stack([group[k] for k in range(len(group))]) for group in scores]

    def _plan(self, examples: Sequence[Example], row_length: int) -> Iterator[list[list[list[Piece]]]]:
        pieces = [
            piece
            for i, example in enumerate(examples)
            for piece in split_pieces(i, example, row_length, share_prompts=self._share_prompts)
        ]
        rows = pack_rows(pieces, row_length)
        shards = self.layout.shards
        step = max(1, TOKENS_PER_SHARD // row_length) * shards
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield [part[shard::shards] for shard in range(shards)]


def _bucket(bins: Sequence[Sequence[Sequence[Piece]]]) -> Shape:
    """The shape, rounded up to powers of two, that holds every bin."""
    rows = max(len(rows) for rows in bins)
    row_length = max(sum(piece.width for piece in row) for rows in bins for row in rows)
    responses = max(sum(piece.last - piece.first for row in rows for piece in row) for rows in bins)
    return Shape(_power(rows), max(128, _power(row_length)), max(8, _power(responses)), 1)


def _power(count: int) -> int:
    return 1 << (count - 1).bit_length()
