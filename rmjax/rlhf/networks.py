"""Small networks that are trained along with a policy, on frozen features."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from rmjax.data.batch_shape import power_of_two

Loss = Callable[[Any, Array, Array], Array]
"""(params, inputs [B, I], targets [B, O]) -> losses [B]."""


class Trained(NamedTuple):
    """Parameters with the state of their optimizer: what a resumed run needs."""

    params: Any
    opt_state: Any


def init_mlp(key: Array, widths: Sequence[int]) -> list[dict[str, Array]]:
    """Returns the parameters of a multilayer perceptron: N(0, 1 / inputs), biases 0."""
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {"kernel": jax.random.normal(k, (i, o), jnp.float32) / jnp.sqrt(jnp.float32(i)), "bias": jnp.zeros(o)}
        for k, i, o in zip(keys, widths, widths[1:], strict=False)
    ]


def mlp(params: Sequence[dict[str, Array]], x: Array) -> Array:
    """Returns the output of a multilayer perceptron with tanh between its layers, `[B, O]`."""
    for i, layer in enumerate(params):
        x = (jnp.tanh(x) if i else x) @ layer["kernel"] + layer["bias"][None]
    return x


class Trainer:
    """Adam on a loss of rows, in shapes that are powers of two.

    Args:
        loss: the loss of each row.
        learning_rate: of Adam.
    """

    def __init__(self, loss: Loss, learning_rate: float) -> None:
        self.optimizer = optax.adam(learning_rate)
        self._step = jax.jit(functools.partial(_step, loss, self.optimizer))

    def init(self, params: Any) -> Trained:
        """Returns the state before the first step."""
        return Trained(params, self.optimizer.init(params))

    def fit(self, state: Trained, inputs: np.ndarray, targets: np.ndarray, *, steps: int) -> tuple[Trained, float]:
        """Takes steps on all rows. Returns the state, and the mean loss before the first step."""
        more = power_of_two(len(inputs)) - len(inputs)
        x, y = (jnp.asarray(np.pad(a, ((0, more), (0, 0))), jnp.float32) for a in (inputs, targets))
        weight = jnp.asarray(np.arange(len(x)) < len(inputs), jnp.float32)
        first = None
        # optax mixes dtypes.
        with jax.numpy_dtype_promotion("standard"):
            for _ in range(steps):
                state, loss = self._step(state, x, y, weight)
                first = loss if first is None else first
        return state, float("nan") if first is None else float(first)


def _step(
    loss: Loss, optimizer: optax.GradientTransformation, state: Trained, x: Array, y: Array, weight: Array
) -> tuple[Trained, Array]:
    def mean(params: Any) -> Array:
        return jnp.sum(weight * loss(params, x, y)) / jnp.sum(weight)

    value, gradient = jax.value_and_grad(mean)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return Trained(optax.apply_updates(state.params, updates), opt_state), value
