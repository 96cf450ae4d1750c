"""Linear maps and tables of embeddings: parameters in float32, products in the compute dtype, sums in float32."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

# What a product is called for `REMAT`, whose policies do not look into it.
LINEAR = "linear"


class Linear(nn.Module):
    """x @ kernel (+ bias), the kernel `[I, O]` drawn with variance `scale` / I; see `product`."""

    features: int
    dtype: jnp.dtype
    bias: bool = False
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = nn.initializers.variance_scaling(self.scale, "fan_in", "normal")
        kernel = self.param("kernel", init, (x.shape[-1], self.features), jnp.float32)
        out = multiply(x.astype(self.dtype), kernel)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(jnp.float32)
            # Added wide, so that the gradients of all tokens are summed wide.
            out = (out.astype(jnp.float32) + jnp.expand_dims(bias, tuple(range(out.ndim - 1)))).astype(self.dtype)
        return out


class Embedding(nn.Module):
    """A table `[V, D]` with a row for every id, drawn with standard deviation 1/√D."""

    rows: int
    features: int
    dtype: jnp.dtype

    def setup(self) -> None:
        init = nn.initializers.normal(self.features**-0.5)
        self.embedding = self.param("embedding", init, (self.rows, self.features), jnp.float32)

    def __call__(self, ids: Array) -> Array:
        """The rows of `ids`, `[..., D]`; narrowed after they are taken, so that their gradients are summed wide."""
        return jnp.take(self.embedding, ids, axis=0).astype(self.dtype)

    def attend(self, x: Array) -> Array:
        """x @ table.T, `[..., V]`."""
        return multiply(x.astype(self.dtype), self.embedding.T)


def multiply(x: Array, kernel: Array) -> Array:
    """`[..., I] x [I, O] -> [..., O]` in the dtype of x."""
    flat = x.reshape(-1, x.shape[-1])
    if x.dtype == kernel.dtype == jnp.float32:
        return (flat @ kernel).reshape(*x.shape[:-1], -1)
    return checkpoint_name(product(flat, kernel).reshape(*x.shape[:-1], -1), LINEAR)


@jax.custom_vjp
def product(x: Array, kernel: Array) -> Array:
    """x @ kernel of `[T, I]` and `[I, O]`, the kernel rounded to the dtype of x, summed in float32 and rounded once.

    Backwards too; and the gradient of a float32 kernel is not rounded at all, so that devices which each hold a part of
    it add their parts in float32. What jax derives would round the sum of each device first. And XLA widens a product
    of bfloat16 on a CPU, and gives it to the matrix unit only if its result is asked for in float32.
    """
    return _dot(x, kernel.astype(x.dtype), ((1,), (0,))).astype(x.dtype)


def _dot(a: Array, b: Array, contracted: tuple[tuple[int], tuple[int]]) -> Array:
    return jax.lax.dot_general(a, b, (contracted, ((), ())), preferred_element_type=jnp.float32)


def _backward(kept: tuple[Array, Array], d_out: Array) -> tuple[Array, Array]:
    x, kernel = kept
    d_x = _dot(d_out, kernel.astype(x.dtype), ((1,), (1,))).astype(x.dtype)
    return d_x, _kernel_gradient(x, d_out).astype(kernel.dtype)


def _kernel_gradient(x: Array, d_out: Array) -> Array:
    """x.T @ d_out of `[T, I]` and `[T, O]`, float32.

    A CPU's instructions for bfloat16 are used only if what is summed over lies last in the first operand, so the
    narrower of the two is turned around first; left to itself, XLA would read it where it lies.
    """
    if jax.default_backend() != "cpu" or x.dtype != jnp.bfloat16:
        return _dot(x, d_out, ((0,), (0,)))
    if x.shape[1] > d_out.shape[1]:
        return _laid_out(_kernel_gradient(d_out, x)).T
    return _dot(_laid_out(x.T), d_out, ((1,), (0,)))


def _laid_out(x: Array) -> Array:
    """x `[M, N]`, row by row in memory.

    Left to itself XLA would turn a neighbouring product instead of x, after it chose that product's instructions: an
    error at run time.
    """
    return jax.lax.optimization_barrier(x.reshape(-1)).reshape(x.shape)


product.defvjp(lambda x, kernel: (product(x, kernel), (x, kernel)), _backward)
