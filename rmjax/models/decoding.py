"""Compiled parts of sampling: prompts -> cache, cache -> samples, and a smaller grid of samples.

The samples of a shard are a grid of P prompts with n samples each. All of a grid's samples are at the same step.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rmjax.models.attention import decoding_context, decoding_positions
from rmjax.models.cache import (
    DecodingStep,
    LayerCache,
    PromptKeys,
    SampleKeys,
    empty_samples,
    prompt_keys,
    resized,
)
from rmjax.models.config import TransformerConfig
from rmjax.models.mask import TokenContext
from rmjax.models.token_choice import SamplingSettings, choose_tokens, fold_in, uniform_pairs
from rmjax.models.transformer import Block, LanguageModel, Transformer


class Prompts(NamedTuple):
    """The prompts of a grid after their forward pass.

    Attributes:
        layers: their keys and values, one item per layer.
        lengths_P: int32, number of tokens.
    """

    layers: tuple[PromptKeys, ...]
    lengths_P: Array


class Grid(NamedTuple):
    """The samples of P prompts, `[P, n]`.

    Attributes:
        layers: their keys and values, one item per layer, with room for E entries.
        keys: random keys, `[P, n, 2] uint32`.
        recent: the last ids, as many as the stop ids, `[P, n, S] int32`; -1 before the first one.
        ended: bool, the sample is complete, or the place is empty.
        ids: int32 sampled tokens, `[P, n, E]`.
        log_probs: float32, `[P, n, E]`; see `SamplingSettings`.
        counts: int32, number of tokens of each sample so far.
        goal: int32 scalar; decoding pauses when so few samples have not ended.
    """

    layers: tuple[SampleKeys, ...]
    keys: Array
    recent: Array
    ended: Array
    ids: Array
    log_probs: Array
    counts: Array
    goal: Array


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Functions of one shard that sample from a language model."""

    config: TransformerConfig
    dtype: jnp.dtype
    settings: SamplingSettings

    def prefill(self, params: Any, prompts: tuple[Array, Array]) -> tuple[Prompts, Array]:
        """Returns the cache of prompts and their next-token logits `[P, V]`.

        Args:
            params: parameters of a `LanguageModel`.
            prompts: ids `[P, T] int32`, padded at the end, and lengths `[P]`, at least 1.
        """
        tokens_PxT, lengths_P = prompts
        P, T = tokens_PxT.shape
        index_PxT = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (P, T))
        real_PxT = (index_PxT < lengths_P[:, None]).astype(jnp.int32)
        trunk = Transformer(self.config, self.dtype, keep=True)
        context = TokenContext(real_PxT, real_PxT, index_PxT)
        output: Any = trunk.apply({"params": params["trunk"]}, tokens_PxT, context)
        hidden_PxTxD, kept = output
        layers = tuple(prompt_keys(kept[0][layer], kept[1][layer]) for layer in range(self.config.layers))
        last_PxD = jnp.take_along_axis(hidden_PxTxD, (lengths_P - 1)[:, None, None], axis=1)[:, 0]
        return Prompts(layers, lengths_P), self._logits(params, last_PxD)

    def begin(self, entries: int, places: tuple[Prompts, Array, Array, Array, Array, Array]) -> Grid:
        """Returns a grid with the first token of every sample.

        Args:
            entries: E.
            places: the prompts; their logits; the key of the call `[2] uint32`; the index of each prompt `[P]`, -1 for
                none; the index of each sample `[P, n]`, -1 for none; the goal.
        """
        prompts, logits_PxV, key, prompt_P, sample_Pxn, goal = places
        P, n = sample_Pxn.shape
        of_prompt_Px2 = fold_in(jnp.broadcast_to(key, (P, 2)), prompt_P)
        keys = fold_in(jnp.broadcast_to(of_prompt_Px2[:, None], (P, n, 2)), sample_Pxn)
        tokens, log_probs = choose_tokens(logits_PxV, uniform_pairs(keys, jnp.zeros((P, n), jnp.int32)), self.settings)
        empty = Grid(
            layers=tuple(empty_samples(self.config, P, n, entries, self.dtype) for _ in prompts.layers),
            keys=keys,
            recent=jnp.full((P, n, len(self.settings.stop)), -1, jnp.int32),
            ended=(prompt_P[:, None] < 0) | (sample_Pxn < 0),
            ids=jnp.zeros((P, n, entries), jnp.int32),
            log_probs=jnp.zeros((P, n, entries), jnp.float32),
            counts=jnp.zeros((P, n), jnp.int32),
            goal=goal,
        )
        return self._append(empty, tokens, log_probs, jnp.zeros((), jnp.int32))

    def prepare(self, params: Any) -> Any:
        """Returns the parameters for `step`: blocks as a list of layers, matrices in the compute dtype.

        A product rounds its matrix to the compute dtype, so the results are the same. A scan over the layers would copy
        the parameters and the cache of each layer at every step.
        """

        def cast(path: Any, leaf: Array) -> Array:
            return leaf.astype(self.dtype) if path[-1].key in ("kernel", "embedding") else leaf

        params = jax.tree_util.tree_map_with_path(cast, params)
        trunk = params["trunk"]
        layers = [jax.tree.map(lambda leaf, i=i: leaf[i], trunk["blocks"]) for i in range(self.config.layers)]
        return {**params, "trunk": {**trunk, "blocks": layers}}

    def step(self, params: Any, prompts: Prompts, grid: Grid, count: Array) -> Grid:
        """Returns the grid with token `count` (from 0) of every sample that has not ended."""
        P, n = grid.ended.shape
        place = DecodingStep(prompts.lengths_P, count - 1)
        before_Pxn = jax.lax.dynamic_index_in_dim(grid.ids, count - 1, axis=2, keepdims=False)
        hidden, layers = self._trunk(params["trunk"], before_Pxn, prompts, grid.layers, place)
        logits = self._logits(params, hidden.reshape(P * n, -1))
        position = jnp.broadcast_to(count, (P, n))
        uniform = uniform_pairs(grid.keys, position).reshape(P * n, 1, 2)
        tokens, log_probs = (x.reshape(P, n) for x in choose_tokens(logits, uniform, self.settings))
        return self._append(grid._replace(layers=layers), tokens, log_probs, count)

    def unfinished(self, grid: Grid, count: Array) -> Array:
        """Returns True if more than `goal` samples have not ended and there is room for token `count`."""
        more = jnp.sum(~grid.ended) > grid.goal
        return more & (count < min(grid.ids.shape[2], self.settings.max_response))

    def regrid(self, entries: int, places: tuple[Prompts, Grid, Array, Array, Array]) -> tuple[Prompts, Grid]:
        """Returns some samples as another grid.

        Args:
            entries: E of the new grid, not smaller.
            places: prompts and grid; the prompts to take `[P']`; the samples of each to take `[P', n']`, -1 for none;
                the goal.
        """
        prompts, grid, prompt_P, sample_Pxn, goal = places

        def of_prompts(x: Array) -> Array:
            return x[prompt_P]

        def of_samples(x: Array) -> Array:
            return x[prompt_P[:, None], jnp.maximum(sample_Pxn, 0)]

        more = ((0, 0), (0, 0), (0, entries - grid.ids.shape[2]))
        ended = of_samples(grid.ended) | (sample_Pxn < 0)
        taken = jax.tree.map(of_samples, grid._replace(goal=grid.ended))
        return jax.tree.map(of_prompts, prompts), taken._replace(
            layers=tuple(resized(layer, entries) for layer in taken.layers),
            ids=jnp.pad(taken.ids, more),
            log_probs=jnp.pad(taken.log_probs, more),
            ended=ended,
            goal=goal,
        )

    def _trunk(
        self, params: Any, tokens: Array, prompts: Prompts, samples: tuple[SampleKeys, ...], place: DecodingStep
    ) -> tuple[Array, tuple[SampleKeys, ...]]:
        """Returns hidden states `[P, n, D]` of new tokens and the cache with them."""
        c = self.config
        n = tokens.shape[1]
        trunk, block = Transformer(c, self.dtype), Block(c, self.dtype)
        context, written = decoding_context(place, c, n), []
        x: Any = trunk.apply({"params": params}, tokens, decoding_positions(place, n), method="embed")
        for layer in range(c.layers):
            cached = LayerCache(prompts.layers[layer], samples[layer])
            local = jnp.array(bool(c.local_layers) and c.local_layers[layer])
            output: Any = block.apply({"params": params["blocks"][layer]}, x, context, local, cached)
            x, new = output
            written.append(new)
        x = trunk.apply({"params": params}, x, method="final_norm")
        return x, tuple(written)

    def _logits(self, params: Any, hidden: Array) -> Array:
        logits: Any = LanguageModel(self.config, self.dtype).apply({"params": params}, hidden, method="logits")
        return logits

    def _append(self, grid: Grid, tokens: Array, log_probs: Array, count: Array) -> Grid:
        """Returns the grid with a further token of every sample that has not ended."""
        recent, ended = grid.recent, grid.ended
        if self.settings.stop:
            recent = jnp.concatenate([recent[:, :, 1:], tokens[:, :, None]], axis=2)
            ended = ended | (recent == jnp.array(self.settings.stop, jnp.int32)[None, None]).all(2)
        at = (0, 0, count)
        return grid._replace(
            recent=recent,
            ended=ended,
            ids=jax.lax.dynamic_update_slice(grid.ids, tokens[:, :, None], at),
            log_probs=jax.lax.dynamic_update_slice(grid.log_probs, log_probs[:, :, None], at),
            counts=jnp.where(grid.ended, grid.counts, count + 1),
        )
