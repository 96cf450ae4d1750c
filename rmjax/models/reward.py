"""The reward model: named scalar heads on a trunk, read at the last token of each response."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from rmjax.data.packing import PackedBatch
from rmjax.models.transformer import Transformer, TransformerConfig


class RewardHeads(nn.Module):
    """hidden `[N, D]` -> scores `[N, Z] float32`, one linear read-out per name.

    Weights start as N(0, 1/(D+1)) (Stiennon et al. 2009.01325, appendix). A causal head has no bias: it would cancel in
    every pair of the ranking loss, so nothing would ever train it.
    """

    names: tuple[str, ...]

    @nn.compact
    def __call__(self, hidden_NxD: Array) -> Array:
        width = hidden_NxD.shape[-1]
        init = nn.initializers.normal((width + 1) ** -0.5)
        kernels = [self.param(name, init, (width,), jnp.float32) for name in self.names]
        return hidden_NxD.astype(jnp.float32) @ jnp.stack(kernels, axis=1)


class RewardTransformer(nn.Module):
    """Packed rows -> scores `[N, Z] float32`: every response slot under every head, in the order of `heads`."""

    config: TransformerConfig
    heads: tuple[str, ...]
    dtype: jnp.dtype

    def setup(self) -> None:
        self.trunk = Transformer(self.config, self.dtype)
        self.reward = RewardHeads(self.heads)

    def __call__(self, batch: PackedBatch) -> Array:
        hidden_RxLxD = self.trunk(batch)
        hidden_NxD = hidden_RxLxD.reshape(-1, hidden_RxLxD.shape[-1])[batch.read_at_N]
        return self.reward(hidden_NxD)
