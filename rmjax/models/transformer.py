"""The trunk and the language model: token ids -> hidden states -> logits.

Decoders and encoders of all families use the same blocks. A family is a set of values of `TransformerConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from rmjax.data.batch import BatchShape, PackedBatch, build_batch
from rmjax.models.attention import Attention, KeysValues, LayerContext, layer_context
from rmjax.models.cache import LayerCache, SampleKeys
from rmjax.models.config import TransformerConfig
from rmjax.models.layers import MLP, Norm, replicate_activations
from rmjax.models.linear import LINEAR, Embedding, Linear
from rmjax.models.mask import TokenContext, packed_context


class Block(nn.Module):
    """One layer: attention and MLP with their norms, each added to the residual stream."""

    config: TransformerConfig
    dtype: jnp.dtype
    keep: bool = False

    @nn.compact
    def __call__(
        self, x: Array, context: LayerContext, local: Array, cached: LayerCache | None
    ) -> tuple[Array, SampleKeys | KeysValues | None]:
        c = self.config

        def norm(name: str) -> Norm:
            return Norm(c, self.dtype, name=name)

        attention = Attention(c, self.dtype, self.keep, name="attention")
        mlp = MLP(c, self.dtype, name="mlp")
        if c.norm_order == "post":
            attended, new = attention(x, context, local, cached)
            x = norm("attention_norm")(x + attended)
            return replicate_activations(norm("mlp_norm")(x + mlp(x))), new
        branch = c.norm_order == "branch"
        attended, new = attention(x if branch else norm("attention_norm")(x), context, local, cached)
        if branch or c.norm_order == "both":
            attended = norm("attention_post_norm")(attended)
        between = x if c.parallel else x + attended
        out = mlp(between if branch else norm("mlp_norm")(between))
        if branch or c.norm_order == "both":
            out = norm("mlp_post_norm")(out)
        return replicate_activations(x + attended + out), new


# Rematerialization: the values of a block that are stored for its backward pass. The others are computed again.
REMAT = {
    "none": None,  # everything
    "dots": jax.checkpoint_policies.save_from_both_policies(  # the outputs of linear maps
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(LINEAR),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,  # the input of the block
}


class Transformer(nn.Module):
    """Token ids and their context -> hidden states `[R, L, D]` in the compute dtype, after the final norm.

    With `keep` the result includes the keys and values of all layers, `[layers, R, L, G, C]` each; otherwise None.

    Parameters are float32 unless they were loaded in another dtype. Those of the blocks are stacked along a leading
    layer axis, so that one block is compiled for any depth. `remat` is a key of `REMAT`.
    """

    config: TransformerConfig
    dtype: jnp.dtype
    remat: str = "none"
    keep: bool = False

    def setup(self) -> None:
        c = self.config

        self.embedding = Embedding(c.vocab_size, c.width, self.dtype)
        if c.positions == "learned":
            self.position = Embedding(c.max_positions, c.width, self.dtype)
        if c.token_types:
            self.token_type = Embedding(c.token_types, c.width, self.dtype)
        if c.embedding_norm:
            self.embedding_norm = Norm(c, self.dtype)
        policy = REMAT[self.remat]
        scanned = nn.scan(
            nn.remat(Block, policy=policy, prevent_cse=False) if policy else Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0, 0),
            length=c.layers,
        )
        self.blocks = scanned(c, self.dtype, self.keep)
        if c.norm_order != "post":
            self.norm = Norm(c, self.dtype)

    def __call__(self, tokens_RxL: Array, context: TokenContext) -> tuple[Array, KeysValues | None]:
        c = self.config
        local = jnp.array(c.local_layers or (False,) * c.layers)
        x, kept = self.blocks(self.embed(tokens_RxL, context.positions), layer_context(context, c), local, None)
        return self.final_norm(x), kept

    def embed(self, tokens: Array, positions: Array) -> Array:
        """Returns the input of the first block, `[R, L, D]`, for tokens and positions `[R, L]`."""
        c = self.config
        x = self.embedding(tokens) * jnp.asarray(c.embedding_scale, self.dtype)
        if c.positions == "learned":
            x = x + self.position(positions)
        if c.token_types:
            x = x + self.token_type(jnp.zeros_like(tokens))
        if c.embedding_norm:
            x = self.embedding_norm(x)
        return replicate_activations(x)

    def final_norm(self, x: Array) -> Array:
        """Returns hidden states of the output of the last block."""
        return x if self.config.norm_order == "post" else self.norm(x)

    def attend(self, hidden: Array) -> Array:
        """Returns logits `[..., V]`: the product with the embedding table."""
        return self.embedding.attend(hidden)


class LanguageModel(nn.Module):
    """Packed rows -> next-token logits `[R, L, V] float32`."""

    config: TransformerConfig
    dtype: jnp.dtype
    remat: str = "none"

    def setup(self) -> None:
        self.trunk = Transformer(self.config, self.dtype, self.remat)
        if not self.config.tie_embeddings:
            self.output = Linear(self.config.vocab_size, self.dtype)

    def __call__(self, batch: PackedBatch) -> Array:
        return self.logits(self.hidden(batch))

    def hidden(self, batch: PackedBatch) -> Array:
        """Returns hidden states `[R, L, D]` in the compute dtype."""
        hidden_RxLxD, _ = self.trunk(jnp.asarray(batch.tokens_RxL), packed_context(batch))
        return hidden_RxLxD

    def logits(self, hidden: Array) -> Array:
        """Returns next-token logits `[..., V] float32` of hidden states `[..., D]`."""
        c = self.config
        logits = (self.trunk.attend(hidden) if c.tie_embeddings else self.output(hidden)).astype(jnp.float32)
        return c.output_cap * jnp.tanh(logits / c.output_cap) if c.output_cap else logits


def apply_fn(model: nn.Module) -> Callable[[Any, PackedBatch], Array]:
    """Returns the function `(params, batch) -> output` of a module."""

    def apply(params: Any, batch: PackedBatch) -> Array:
        output: Any = model.apply({"params": params}, batch)  # flax also types the state of mutable collections
        return output

    return apply


def parameter_shapes(model: nn.Module) -> Any:
    """Returns the shapes and dtypes of a module's parameters without computing them."""
    return jax.eval_shape(model.init, jax.random.key(0), empty_batch())["params"]


def parameter_count(model: nn.Module) -> dict[str, int]:
    """Returns the number of parameters of a module.

    `total` counts all. `embedding` counts the tables of ids and positions, which scaling laws leave out (Kaplan et al.,
    2001.08361).
    """
    leaves = jax.tree_util.tree_leaves_with_path(parameter_shapes(model))
    sizes = [(jax.tree_util.keystr(path), math.prod(leaf.shape)) for path, leaf in leaves]
    return {
        "total": sum(n for _, n in sizes),
        "embedding": sum(n for path, n in sizes if path.endswith("['embedding']")),
    }


def empty_batch() -> PackedBatch:
    """Returns the smallest batch, to initialize a module with."""
    batch, _ = build_batch([], [[]], BatchShape(1, 2, 1, 1))
    return jax.tree.map(lambda x: x[0], batch)


def model_in_words(model: nn.Module) -> str:
    """Returns the family and the size of a module.

    Example:
        llama, 3 layers of width 96, 0.42M parameters
    """
    config, count = model.config, parameter_count(model)["total"]
    size = f"{count / 1e9:.3g}B" if count >= 1e9 else f"{count / 1e6:.3g}M"
    return f"{config.family}, {config.layers} layers of width {config.width}, {size} parameters"
