"""The reward model: named scalar heads on a trunk, read once for each response."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from rmjax.data.packing import PackedBatch
from rmjax.models.config import TransformerConfig
from rmjax.models.layers import ACTIVATIONS
from rmjax.models.linear import Linear
from rmjax.models.mask import packed_context
from rmjax.models.transformer import Transformer


class RewardHeads(nn.Module):
    """hidden `[N, D]` -> scores `[N, Z] float32`, one linear read-out per name.

    Weights start as N(0, 1/(D+1)) (Stiennon et al. 2009.01325, appendix). A causal head has no bias: it would cancel in
    every pair of the ranking loss, so nothing would ever train it. An encoder's head has one, as in its checkpoints.
    """

    names: tuple[str, ...]
    bias: bool

    @nn.compact
    def __call__(self, hidden_NxD: Array) -> Array:
        width = hidden_NxD.shape[-1]
        init = nn.initializers.normal((width + 1) ** -0.5)
        kernels = [self.param(name, init, (width,), jnp.float32).astype(jnp.float32) for name in self.names]
        scores = hidden_NxD.astype(jnp.float32) @ jnp.stack(kernels, axis=1)
        if self.bias:
            biases = [self.param(f"{name}.bias", nn.initializers.zeros, (), jnp.float32) for name in self.names]
            scores = scores + jnp.stack(biases).astype(jnp.float32)[None, :]
        return scores


class RewardTransformer(nn.Module):
    """Packed rows -> scores `[N, Z] float32`: every response slot under every head, in the order of `heads`.

    A causal trunk is read at the last token of each response, an encoder at the first token of its text, as BERT's and
    DistilBERT's own classifiers do.
    """

    config: TransformerConfig
    heads: tuple[str, ...]
    dtype: jnp.dtype
    remat: str = "none"

    def setup(self) -> None:
        c = self.config
        self.trunk = Transformer(c, self.dtype, self.remat)
        if c.pooler:
            self.pooler = Linear(c.width, self.dtype, bias=True)
        self.reward = RewardHeads(self.heads, bias=not c.causal)

    def __call__(self, batch: PackedBatch) -> Array:
        c = self.config
        hidden_RxLxD, _ = self.trunk(batch.tokens_RxL, packed_context(batch))
        score_index_N = batch.score_index_N
        if not c.causal:
            # The response follows its own copy of the prompt, so its last position says how far back its text began.
            score_index_N = score_index_N - batch.positions_RxL.reshape(-1)[score_index_N]
        hidden_NxD = hidden_RxLxD.reshape(-1, c.width)[score_index_N]
        if c.pooler:
            hidden_NxD = ACTIVATIONS[c.pooler](self.pooler(hidden_NxD))
        return self.reward(hidden_NxD)
