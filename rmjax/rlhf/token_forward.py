"""Batched forward pass that gives values for every token of the responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from rmjax.data.batch import Example, PackedBatch, build_batch
from rmjax.parallel.layout import Layout
from rmjax.scoring.batched_forward import block_shape, plan_batches


class TokenForward:
    """Packs examples, runs a function on every device, and returns its values at the tokens of the responses.

    Shapes come from a short list, so that rollouts of all sizes share a few compilations.

    Args:
        function: `(params, batch) -> [R, L, X]`.
        layout: the devices to run on.
    """

    def __init__(self, function: Callable[[Any, PackedBatch], Array], layout: Layout) -> None:
        self.layout = layout
        self._apply = layout.compile_map(function)

    def __call__(self, params: Any, examples: Sequence[Example]) -> list[np.ndarray]:
        """Returns an array `[T_n, X]` for each response, those of the first example first.

        Args:
            params: parameters, laid out by the layout.
            examples: prompts with their responses; their `per_token` arrays are not used.
        """
        plain = [Example(example.prompt, example.responses) for example in examples]
        index, count = self.layout.process
        computed = []
        for bins in plan_batches(plain, self.layout.shards):
            batch, slots = build_batch(plain, bins, block_shape(plain, bins))
            mine = slice(index * len(bins) // count, (index + 1) * len(bins) // count)
            out = self._apply(params, jax.tree.map(lambda x, mine=mine: x[mine], batch))
            # Results are read after the last batch was started, so that the device does not wait for packing.
            computed.append((batch.responses.score_index_N, slots, out))
        found: dict[tuple[int, int], np.ndarray] = {}
        for last_SxN, slots, out in computed:
            values = np.asarray(out)
            values = values.reshape(len(values), -1, values.shape[-1])
            for shard, used in enumerate(slots):
                for n, (example, k) in enumerate(used):
                    stop = int(last_SxN[shard, n]) + 1
                    found[example, k] = values[shard, stop - len(plain[example].responses[k]) : stop]
        return [found[i, k] for i, example in enumerate(plain) for k in range(len(example.responses))]
