"""The trunk: one functional transformer over packed rows, ids -> hidden states.

Pre-norm decoder with rotary positions, grouped-query attention and a gated MLP (Llama, Touvron et al. 2302.13971). A
model family is a set of values of `TransformerConfig`, not a class of its own.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.packing import PackedBatch
from rmjax.errors import InputError

# Far below any logit, yet finite: a row of padding then gives a uniform softmax instead of NaN.
MASKED = -1e30


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """The settings of a trunk.

    Attributes:
        vocab_size: V.
        width: D.
        layers: number of blocks.
        heads: H query heads.
        kv_heads: G key/value heads; H for multi-head attention, fewer for grouped-query.
        head_dim: C, channels of a head.
        mlp_width: F.
        rope_theta: base of the rotary frequencies (Su et al. 2104.09864).
        norm_eps: epsilon of RMSNorm (Zhang & Sennrich 1910.07467).
        tie_embeddings: the language model reads its logits off the embedding table.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    rope_theta: float
    norm_eps: float
    tie_embeddings: bool

    def __post_init__(self) -> None:
        for field in ("vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "mlp_width"):
            if getattr(self, field) < 1:
                raise InputError(f"model.{field} must be positive, found {getattr(self, field)}")
        if self.heads % self.kv_heads:
            raise InputError(f"model.heads={self.heads} is not a multiple of model.kv_heads={self.kv_heads}")
        if self.head_dim % 2:
            raise InputError(f"model.head_dim={self.head_dim} must be even for rotary positions")


def dense(features: int, name: str, dtype: jnp.dtype, scale: float = 1.0) -> nn.Dense:
    """A linear map without bias, its kernel drawn with variance scale / inputs."""
    init = nn.initializers.variance_scaling(scale, "fan_in", "normal")
    return nn.Dense(features, use_bias=False, dtype=dtype, kernel_init=init, name=name)


class RMSNorm(nn.Module):
    """x / rms(x) * scale over the last axis, computed in float32."""

    eps: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        x = x.astype(jnp.float32)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + self.eps)
        return (x * jnp.expand_dims(scale, range(x.ndim - 1))).astype(self.dtype)


def visible(batch: PackedBatch) -> Array:
    """`[R, L, L] bool`: which token a query may see: its own segment and its own prompt, never what comes later."""
    own_RxQxK = batch.segments_RxL[:, :, None] == batch.segments_RxL[:, None, :]
    prompt_RxQxK = batch.parents_RxL[:, :, None] == batch.segments_RxL[:, None, :]
    L = batch.segments_RxL.shape[-1]
    return (own_RxQxK | prompt_RxQxK) & jnp.tril(jnp.ones((1, L, L), bool))


def rotary(positions_RxL: Array, head_dim: int, theta: float) -> tuple[Array, Array]:
    """Cosines and sines `[R, L, 1, C/2] float32` of the rotary angles."""
    frequencies = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
    angles = positions_RxL[:, :, None, None].astype(jnp.float32) * frequencies[None, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Array, cosine: Array, sine: Array) -> Array:
    """Rotates the halves of the channels against each other, as Hugging Face checkpoints expect."""
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1).astype(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention over packed rows, softmax in float32."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array, visible_RxLxL: Array, cosine: Array, sine: Array) -> Array:
        c = self.config
        R, L, _ = x.shape
        q = dense(c.heads * c.head_dim, "query", self.dtype)(x).reshape(R, L, c.heads, c.head_dim)
        k = dense(c.kv_heads * c.head_dim, "key", self.dtype)(x).reshape(R, L, c.kv_heads, c.head_dim)
        v = dense(c.kv_heads * c.head_dim, "value", self.dtype)(x).reshape(R, L, c.kv_heads, c.head_dim)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        q = (q * c.head_dim**-0.5).reshape(R, L, c.kv_heads, c.heads // c.kv_heads, c.head_dim)
        logits = jnp.einsum("rqghc,rkgc->rghqk", q, k, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(jnp.where(visible_RxLxL[:, None, None], logits, MASKED), axis=-1)
        mixed = jnp.einsum("rghqk,rkgc->rqghc", weights.astype(self.dtype), v)
        # Residual branches start small in deep trunks, so that the stream keeps its scale (Radford et al. 2019).
        return dense(c.width, "out", self.dtype, scale=0.5 / c.layers)(mixed.reshape(R, L, c.heads * c.head_dim))


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer 2002.05202)."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        c = self.config
        gate = dense(c.mlp_width, "gate", self.dtype)(x)
        up = dense(c.mlp_width, "up", self.dtype)(x)
        return dense(c.width, "down", self.dtype, scale=0.5 / c.layers)(nn.silu(gate) * up)


class Block(nn.Module):
    """One layer: attention and MLP, each behind a norm and added to the stream."""

    config: TransformerConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Array, visible_RxLxL: Array, cosine: Array, sine: Array) -> tuple[Array, None]:
        c = self.config
        normed = RMSNorm(c.norm_eps, self.dtype, name="attention_norm")(x)
        x = x + Attention(c, self.dtype, name="attention")(normed, visible_RxLxL, cosine, sine)
        normed = RMSNorm(c.norm_eps, self.dtype, name="mlp_norm")(x)
        return x + GatedMLP(c, self.dtype, name="mlp")(normed), None


class Transformer(nn.Module):
    """Packed rows -> hidden states `[R, L, D]` in the compute dtype, after the final norm.

    Parameters are float32. Those of the blocks are stacked along a leading layer axis, so that one block is compiled
    whatever the depth.
    """

    config: TransformerConfig
    dtype: jnp.dtype

    def setup(self) -> None:
        c = self.config
        self.embedding = nn.Embed(
            c.vocab_size, c.width, dtype=self.dtype, embedding_init=nn.initializers.normal(c.width**-0.5)
        )
        scanned = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, nn.broadcast, nn.broadcast),
            length=c.layers,
        )
        self.blocks = scanned(c, self.dtype)
        self.norm = RMSNorm(c.norm_eps, self.dtype)

    def __call__(self, batch: PackedBatch) -> Array:
        cosine, sine = rotary(batch.positions_RxL, self.config.head_dim, self.config.rope_theta)
        x = self.embedding(batch.tokens_RxL)
        x, _ = self.blocks(x, visible(batch), cosine, sine)
        return self.norm(x)

    def attend(self, hidden: Array) -> Array:
        """Logits `[..., V]` read off the embedding table."""
        return self.embedding.attend(hidden)


class LanguageModel(nn.Module):
    """Trunk and next-token logits `[R, L, V] float32`."""

    config: TransformerConfig
    dtype: jnp.dtype

    def setup(self) -> None:
        self.trunk = Transformer(self.config, self.dtype)
        if not self.config.tie_embeddings:
            self.output = dense(self.config.vocab_size, None, self.dtype)

    def __call__(self, batch: PackedBatch) -> Array:
        hidden = self.trunk(batch)
        logits = self.trunk.attend(hidden) if self.config.tie_embeddings else self.output(hidden)
        return logits.astype(jnp.float32)
