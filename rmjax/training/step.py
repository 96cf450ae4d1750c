"""Training step and evaluation step, for any loss function: SFT, reward model, policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from rmjax.data.batch import PackedBatch
from rmjax.data.loader import BatchStream
from rmjax.models.lora import join, split
from rmjax.parallel.layout import Layout
from rmjax.training.objectives import LossFn


class TrainState(NamedTuple):
    """State of training: number of steps, all parameters, optimizer state of the trained ones."""

    step: Array
    params: Any
    opt_state: Any


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(split(params)[0]))


def make_train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, layout: Layout
) -> Callable[[TrainState, PackedBatch], tuple[TrainState, dict[str, Array]]]:
    """Returns a compiled `step(state, batch) -> (state, metrics)`; its result does not depend on the layout.

    The batch's arrays are `[S, M, ...]`: shards over devices, microbatches one after another. The loss of the step is
    sum of numerators / sum of weights over all of them. Each program differentiates the numerator of what it sees;
    gradients and weights are summed afterwards. (Differentiating the ratio of summed values and then summing gradients
    would count every device S times, which Adam hides.)

    In a model with adapters only these and the heads are trained. The state is donated.

    Metrics are scalars: each reported sum over its own weight, and `grad_norm` before clipping.
    """

    def step(state: TrainState, batch: PackedBatch) -> tuple[TrainState, dict[str, Array]]:
        trained, frozen = split(state.params)
        summed = layout.sum_over_shards(loss_fn)
        gradient = jax.value_and_grad(lambda trained, part: summed(join(trained, frozen), part), has_aux=True)

        def of(microbatch: PackedBatch) -> Any:
            (_, sums), grads = gradient(trained, microbatch)
            return grads, sums

        first = jax.tree.map(lambda x: x[0], batch)
        if batch.tokens_RxL.shape[0] == 1:
            total = of(first)
        else:  # scan from zeros: peeling off the first microbatch would compile its body twice
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of, first))
            total, _ = jax.lax.scan(lambda total, part: (jax.tree.map(jnp.add, total, of(part)), None), zeros, batch)
        grads, sums = layout.reduce(total)
        grads = jax.tree.map(lambda g: g / jnp.maximum(sums["weight"], 1e-9), grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, trained)
        params = join(optax.apply_updates(trained, updates), frozen)
        metrics = {**ratios(sums), "grad_norm": optax.tree.norm(grads)}
        return TrainState(state.step + 1, params, opt_state), metrics

    return layout.compile_step(step)


def make_eval_step(loss_fn: LossFn, layout: Layout) -> Callable[[Any, PackedBatch], dict[str, Array]]:
    """Returns a compiled `(params, batch) -> sums` over all devices and microbatches, without an update."""

    def sums(params: Any, batch: PackedBatch) -> dict[str, Array]:
        per_microbatch = jax.lax.map(lambda microbatch: layout.sum_over_shards(loss_fn)(params, microbatch)[1], batch)
        return layout.reduce(jax.tree.map(jnp.sum, per_microbatch))

    return layout.compile_sums(sums)


def evaluate_stream(
    eval_step: Callable[[Any, PackedBatch], dict[str, Array]], params: Any, stream: BatchStream
) -> dict[str, float]:
    """Returns the metrics of an objective over a whole stream: each sum divided by its weight."""
    total: dict[str, float] = {}
    for batch in stream.prefetch(0, len(stream)):
        for name, value in jax.device_get(eval_step(params, batch)).items():
            total[name] = total.get(name, 0.0) + float(value)
    return {name: float(value) for name, value in ratios(total).items()}


def ratios(sums: Mapping[str, Array | float]) -> dict[str, Array]:
    """Returns every reported sum divided by `NAME_weight`, or by `weight` if there is no such weight."""
    names = [name for name in sums if name != "weight" and not name.endswith("_weight")]
    weights = {name: sums.get(f"{name}_weight", sums["weight"]) for name in names}
    return {name: sums[name] / jnp.maximum(weights[name], 1e-9) for name in names}


@jax.jit
def all_finite(tree: Any) -> Array:
    """Returns True if every number of a tree of arrays is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
