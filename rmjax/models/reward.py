"""The reward model: named scalar heads on a trunk, one score per response and head."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.batch import AnyArray, PackedBatch
from rmjax.errors import InputError
from rmjax.models.config import HeadConfig, TransformerConfig
from rmjax.models.layers import ACTIVATIONS
from rmjax.models.linear import Linear
from rmjax.models.mask import packed_context
from rmjax.models.transformer import Transformer


class RewardHeads(nn.Module):
    """Pooled hidden states `[N, D]` -> scores `[N, Z] float32`, one linear map per name.

    Weights are initialized as N(0, 1/(D+1)) (Stiennon et al. 2009.01325, appendix), biases as 0.
    """

    names: tuple[str, ...]
    bias: bool

    @nn.compact
    def __call__(self, pooled_NxD: Array) -> Array:
        width = pooled_NxD.shape[-1]
        init = nn.initializers.normal((width + 1) ** -0.5)
        kernels = [self.param(name, init, (width,), jnp.float32).astype(jnp.float32) for name in self.names]
        scores = pooled_NxD.astype(jnp.float32) @ jnp.stack(kernels, axis=1)
        if self.bias:
            biases = [self.param(f"{name}.bias", nn.initializers.zeros, (), jnp.float32) for name in self.names]
            scores = scores + jnp.stack(biases).astype(jnp.float32)[None, :]
        return scores


class RewardTransformer(nn.Module):
    """Packed rows -> scores `[N, Z] float32`: every response slot under every head, in the order of `head.names`.

    With `features` it returns what the heads read, `[N, D] float32`.
    """

    config: TransformerConfig
    head: HeadConfig
    dtype: jnp.dtype
    remat: str = "none"
    features: bool = False

    def setup(self) -> None:
        c = self.config
        if c.causal and self.head.pooling == "first":
            raise InputError(
                "head.pooling=first reads a token that sees nothing of the response in a causal trunk: use last or mean"
            )
        self.trunk = Transformer(c, self.dtype, self.remat)
        if c.pooler:
            self.pooler = Linear(c.width, self.dtype, bias=True)
        self.reward = RewardHeads(self.head.names, self.head.bias)

    def __call__(self, batch: PackedBatch) -> Array:
        return self.score(self.hidden(batch), batch)

    def hidden(self, batch: PackedBatch) -> Array:
        """Returns hidden states `[R, L, D]` in the compute dtype."""
        hidden_RxLxD, _ = self.trunk(jnp.asarray(batch.tokens_RxL), packed_context(batch))
        return hidden_RxLxD

    def score(self, hidden_RxLxD: Array, batch: PackedBatch) -> Array:
        """Returns the scores of hidden states `[N, Z] float32`, or the features `[N, D] float32`."""
        c = self.config
        pooled_NxD = pool(hidden_RxLxD, batch, self.head.pooling)
        if c.pooler:
            pooled_NxD = ACTIVATIONS[c.pooler](self.pooler(pooled_NxD))
        if self.features:
            return pooled_NxD.astype(jnp.float32)
        return self.reward(pooled_NxD)


def pool(hidden_RxLxD: Array, batch: PackedBatch, pooling: str) -> Array:
    """Returns one vector per response slot, `[N, D]`; see `HeadConfig.pooling`. An empty slot has an arbitrary one."""
    score_index_N = batch.responses.score_index_N
    if pooling == "mean":
        return mean_of_segments(hidden_RxLxD, batch.segments_RxL, score_index_N)
    if pooling == "first":
        # The text of an encoder is contiguous, so the position of its last token is the distance to the first one.
        score_index_N = score_index_N - batch.positions_RxL.reshape(-1)[score_index_N]
    return hidden_RxLxD.reshape(-1, hidden_RxLxD.shape[-1])[score_index_N]


def mean_of_segments(hidden_RxLxD: Array, segments_RxL: AnyArray, score_index_N: AnyArray) -> Array:
    """Returns the means `[N, D] float32` of hidden states over the segments of the tokens `score_index_N`."""
    R, L, D = hidden_RxLxD.shape
    row = jnp.broadcast_to(jnp.arange(R, dtype=jnp.int32)[:, None], (R, L)).reshape(-1)
    segment = segments_RxL.reshape(-1)
    member = (segment[score_index_N][:, None] == segment[None]) & (row[score_index_N][:, None] == row[None])
    weights = member.astype(jnp.float32)
    hidden = hidden_RxLxD.reshape(-1, D).astype(jnp.float32)
    total_NxD = jnp.matmul(weights, hidden, precision=jax.lax.Precision.HIGHEST)
    return total_NxD / weights.sum(1, keepdims=True)
