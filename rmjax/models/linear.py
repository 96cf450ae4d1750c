"""Linear maps and embedding tables: float32 parameters, products in the compute dtype, sums in float32."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from rmjax.models.lora import A, B, Lora

# Checkpoint name of the output of `product`: the policies of `REMAT` cannot see the dots inside a custom_vjp.
LINEAR = "linear"


class Linear(nn.Module):
    """x @ kernel (+ bias), the kernel `[I, O]` initialized with variance `scale` / I; see `product`.

    If its name is a target of `lora`, it has adapters `[I, r]` and `[r, O]`, which start without effect.
    """

    features: int
    dtype: jnp.dtype
    bias: bool = False
    scale: float = 1.0
    lora: Lora | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = nn.initializers.variance_scaling(self.scale, "fan_in", "normal")
        kernel = self.param("kernel", init, (x.shape[-1], self.features), jnp.float32)
        x = x.astype(self.dtype)
        out = multiply(x, kernel)
        if self.lora and self.name in self.lora.targets:
            # Gaussian and zero (Hu et al. 2106.09685, 4.1), the first with variance 1 / I.
            normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
            a = self.param(A, normal, (x.shape[-1], self.lora.rank), jnp.float32)
            b = self.param(B, nn.initializers.zeros, (self.lora.rank, self.features), jnp.float32)
            change = multiply(multiply(x, a), b).astype(jnp.float32)
            out = (out.astype(jnp.float32) + self.lora.scale * change).astype(self.dtype)
        if self.bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(jnp.float32)
            # Added in float32, so that the gradients of all tokens are summed in float32.
            out = (out.astype(jnp.float32) + jnp.expand_dims(bias, tuple(range(out.ndim - 1)))).astype(self.dtype)
        return out


class Embedding(nn.Module):
    """A table `[V, D]` with a row for every id, initialized with standard deviation 1/√D."""

    rows: int
    features: int
    dtype: jnp.dtype

    def setup(self) -> None:
        init = nn.initializers.normal(self.features**-0.5)
        self.embedding = self.param("embedding", init, (self.rows, self.features), jnp.float32)

    def __call__(self, ids: Array) -> Array:
        """Returns the rows of `ids`, `[..., D]`.

        The cast to the compute dtype comes after the lookup, so that the gradients of a row are summed in float32.
        """
        return jnp.take(self.embedding, ids, axis=0).astype(self.dtype)

    def attend(self, x: Array) -> Array:
        """Returns x @ table.T, `[..., V]`."""
        return multiply(x.astype(self.dtype), self.embedding.T)


def multiply(x: Array, kernel: Array) -> Array:
    """Returns x @ kernel, `[..., I] x [I, O] -> [..., O]`, in the dtype of x."""
    flat = x.reshape(-1, x.shape[-1])
    if x.dtype == kernel.dtype == jnp.float32:
        return (flat @ kernel).reshape(*x.shape[:-1], -1)
    return checkpoint_name(product(flat, kernel).reshape(*x.shape[:-1], -1), LINEAR)


@jax.custom_vjp
def product(x: Array, kernel: Array) -> Array:
    """x @ kernel of `[tokens, I]` and `[I, O]`, the kernel rounded to the dtype of x, summed in float32, rounded once.

    The backward pass is the same, but the gradient of a float32 kernel is not rounded. So devices that each hold a part
    of it add their parts in float32. JAX's own derivative would round the sum of each device first. The products have a
    float32 result because XLA uses a CPU's bfloat16 matrix unit only then.
    """
    return _dot(x, kernel.astype(x.dtype), ((1,), (0,))).astype(x.dtype)


def _dot(a: Array, b: Array, contracted: tuple[tuple[int], tuple[int]]) -> Array:
    return jax.lax.dot_general(a, b, (contracted, ((), ())), preferred_element_type=jnp.float32)


def _backward(residuals: tuple[Array, Array], d_out: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    d_x = _dot(d_out, kernel.astype(x.dtype), ((1,), (1,))).astype(x.dtype)
    return d_x, _kernel_gradient(x, d_out).astype(kernel.dtype)


def _kernel_gradient(x: Array, d_out: Array) -> Array:
    """Returns x.T @ d_out of `[tokens, I]` and `[tokens, O]`, float32.

    A CPU uses its bfloat16 instructions only if the summed axis is the last one of the first operand. So the narrower
    matrix is transposed first. XLA alone would not transpose it.
    """
    if jax.default_backend() != "cpu" or x.dtype != jnp.bfloat16:
        return _dot(x, d_out, ((0,), (0,)))
    if x.shape[1] > d_out.shape[1]:
        return _kernel_gradient(d_out, x).T
    return _row_major(_dot(_row_major(x.T), d_out, ((1,), (0,))))


def _row_major(x: Array) -> Array:
    """Returns a row-major copy of the matrix x.

    Without it XLA moves a transpose before or after the matrix into a neighbouring dot whose kernel is already chosen,
    which fails at run time. Tied embeddings transpose the gradient of their kernel.
    """
    return jax.lax.optimization_barrier(x.reshape(-1)).reshape(x.shape)


product.defvjp(lambda x, kernel: (product(x, kernel), (x, kernel)), _backward)
