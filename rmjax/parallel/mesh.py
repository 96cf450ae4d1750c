"""Layouts with sharded parameters: fully sharded data parallelism, tensor parallelism, and both (jit with shardings).

The devices form a mesh of two axes. A batch is split over `data`. Devices along `tensor` compute the same shard
together. `RULES` assigns axes of parameters to axes of the mesh, and XLA inserts the gathers and reductions (Xu et al.
2105.04663; fully sharded: Rajbhandari et al. 1910.02054).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmjax.errors import InputError

DATA, TENSOR = "data", "tensor"

# The first pattern that matches the end of a parameter's path gives the sharding of its last axes. A layer axis before
# them is not sharded, nor is an axis with None. The path of an optimizer moment ends with the path of its parameter. Of
# two consecutive matrices the first is sharded by outputs and the second by inputs, so that one sum joins them.
RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"trunk/embedding/embedding$", (TENSOR, DATA)),
    (r"trunk/(position|token_type)/embedding$", (None, DATA)),
    (r"(query|key|value|up|gate)/kernel$", (DATA, TENSOR)),
    (r"(query|key|value|up|gate)/bias$", (TENSOR,)),
    (r"(query|key|value|up|gate)/lora_a$", (DATA, None)),
    (r"(query|key|value|up|gate)/lora_b$", (None, TENSOR)),
    (r"(out|down)/kernel$", (TENSOR, DATA)),
    (r"(out|down)/bias$", ()),
    (r"(out|down)/lora_a$", (TENSOR, None)),
    (r"(out|down)/lora_b$", (None, DATA)),
    (r"norm/(scale|bias)$", ()),
    (r"output/kernel$", (DATA, TENSOR)),
    (r"pooler/(kernel|bias)$", ()),
    (r"reward/[^/]+$", ()),
    (r"value_head/[^/]+$", ()),
    (r"rewards/.+$", ()),  # networks of trained rewards, small and equal in all processes
)


@dataclasses.dataclass(frozen=True)
class Sharded:
    """Parameters sharded by `RULES` over a mesh of devices, the batch split over its `data` axis.

    Attributes:
        devices: of all processes, in order of processes.
        tensor: length of the `tensor` axis; the `data` axis has length devices / tensor.
        fsdp: shard parameters along `data` too, else replicate them along it.
    """

    devices: tuple[jax.Device, ...]
    tensor: int
    fsdp: bool

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices as `[data, tensor]`."""
        return Mesh(np.array(self.devices).reshape(-1, self.tensor), (DATA, TENSOR))

    @property
    def shards(self) -> int:
        """S, the length of the `data` axis."""
        return len(self.devices) // self.tensor

    @property
    def process(self) -> tuple[int, int]:
        """(index, count): this process builds block `index` of `count` equal blocks of shards."""
        mine = [i for i, d in enumerate(self.devices) if d.process_index == jax.process_index()]
        first, last = mine[0] // self.tensor, mine[-1] // self.tensor
        return first // (last - first + 1), self.shards // (last - first + 1)

    def shardings(self, tree: Any) -> Any:
        """Returns the sharding of every array of a state, by its path.

        An axis whose length the mesh does not divide is not sharded.

        Raises:
            InputError: no rule matches a parameter.
        """
        return jax.tree_util.tree_map_with_path(
            lambda path, x: NamedSharding(self.mesh, self._spec(_name(path), x.shape)), tree
        )

    def _spec(self, name: str, shape: tuple[int, ...]) -> PartitionSpec:
        if not shape:
            return PartitionSpec()
        axes = next((axes for pattern, axes in RULES if re.search(pattern, name)), None)
        if axes is None:
            raise InputError(f"no rule lays out the parameter {name!r}: add one to rmjax.parallel.mesh.RULES")
        sizes = {DATA: self.shards if self.fsdp else 1, TENSOR: self.tensor}
        padded = (*(None,) * (len(shape) - len(axes)), *axes)
        cut = [
            axis if axis and sizes[axis] > 1 and size % sizes[axis] == 0 else None
            for axis, size in zip(padded, shape, strict=True)
        ]
        while cut and cut[-1] is None:
            cut.pop()  # as XLA writes the specs of results: equal shardings must also compare equal
        return PartitionSpec(*cut)

    def device_put(self, state: Any) -> Any:
        """Shards the state over the mesh."""
        return jax.tree.map(_put, state, self.shardings(state))

    def put_param(self, path: str, array: np.ndarray) -> jax.Array:
        """Shards the parameter over the mesh."""
        return _put(array, NamedSharding(self.mesh, self._spec(path, array.shape)))

    def jit_init(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the result of a jitted function with the shardings of this layout."""
        out = self.shardings(jax.eval_shape(function, *arguments))
        return jax.jit(function, out_shardings=out)(*arguments)

    def unreplicate(self, state: Any) -> Any:
        """Returns the state itself: the layout adds no axis."""
        return state

    def restore_args(self, shapes: Any) -> Any:
        """Returns shapes and dtypes with their shardings."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            shapes,
            self.shardings(shapes),
        )

    def sum_over_shards(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Maps a function of one shard over all shards, which one program has, and sums the results."""

        def summed(params: Any, batch: Any) -> Any:
            if self.shards == 1:
                return function(params, jax.tree.map(lambda x: x[0], batch))
            return jax.tree.map(lambda x: x.sum(0), self._each(function)(params, batch))

        return summed

    def reduce(self, sums: Any) -> Any:
        """Returns the sums themselves: there is one program."""
        return sums

    def compile_step(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """See `Layout`."""
        compiled = self.program(step)
        return lambda state, batch: compiled(state, self._feed(batch))

    def program(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
        """Returns the jitted step on arrays of the whole batch, sharded by `by_shard`; the state is donated."""

        def whole(state: Any, batch: Any) -> tuple[Any, Any]:
            with self._traced():
                state, report = step(state, _microbatches_first(batch))
            # With an unchanged sharding, the state can be donated and the next step does not compile again.
            return jax.lax.with_sharding_constraint(state, self.shardings(state)), self._everywhere(report)

        return jax.jit(whole, donate_argnums=(0,))

    @property
    def by_shard(self) -> NamedSharding:
        """The sharding of the leading axis of a batch."""
        return NamedSharding(self.mesh, PartitionSpec(DATA))

    def compile_sums(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """See `Layout`."""

        def sums(params: Any, batch: Any) -> Any:
            with self._traced():
                return self._everywhere(function(params, _microbatches_first(batch)))

        compiled = jax.jit(sums)
        return lambda params, batch: compiled(params, self._feed(batch))

    def compile_map(self, function: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
        """See `Layout`."""

        def mapped(params: Any, batch: Any) -> jax.Array:
            with self._traced():
                return self._everywhere(self._each(function)(params, batch))

        compiled = jax.jit(mapped)
        return lambda params, batch: compiled(params, self._feed(batch))

    def compile_each(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """See `Layout`."""

        def mapped(params: Any, tree: Any) -> Any:
            with self._traced():
                return self._divided(self._each(function)(params, tree))

        compiled = jax.jit(mapped)
        return lambda params, tree: compiled(params, self._feed(tree))

    def compile_loop(self, loop: Any) -> Callable[[Any, Any, Any, Any], tuple[Any, jax.Array]]:
        """See `Layout`. All shards take a step if one of them needs it."""
        step = jax.vmap(loop.step, in_axes=(None, 0, 0, None), spmd_axis_name=DATA)

        def looped(params: Any, fixed: Any, state: Any, counts: jax.Array) -> tuple[Any, jax.Array]:
            with self._traced():
                prepared = loop.prepare(params)
                state, count = jax.lax.while_loop(
                    lambda carry: jax.vmap(loop.unfinished, in_axes=(0, None))(*carry).any(),
                    lambda carry: (self._divided(step(prepared, fixed, *carry)), carry[1] + 1),
                    (self._divided(state), counts[0]),
                )
            return state, jnp.full_like(counts, count)

        compiled = jax.jit(looped, donate_argnums=(2,))
        return lambda params, fixed, state, counts: compiled(params, *map(self._feed, (fixed, state, counts)))

    def _divided(self, tree: Any) -> Any:
        """Returns arrays `[S, ...]`, each shard on its devices."""
        return jax.lax.with_sharding_constraint(tree, self.by_shard)

    def _each(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Maps a function over the shards, each on its devices."""
        return jax.vmap(function, in_axes=(None, 0), spmd_axis_name=DATA)

    def _traced(self) -> AbstractContextManager:
        """Sets the mesh during tracing, for `rmjax.models.layers.replicate_activations`."""
        return jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh)

    def _everywhere(self, tree: Any) -> Any:
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, PartitionSpec()))

    def _feed(self, batch: Any) -> Any:
        """Returns arrays of the whole batch, of which this process provides its shards."""
        if jax.process_count() == 1:
            return jax.device_put(batch, self.by_shard)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.by_shard, x, (self.shards, *x.shape[1:])), batch
        )


def describe(layout: Sharded, params: Any) -> str:
    """Returns a line with the parameters per device and the unsharded ones of more than 1 % of all."""
    sizes = {}
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        spec = layout._spec(_name(path), x.shape)
        sizes[_name(path)] = math.prod(x.shape), math.prod(layout.mesh.shape[axis] for axis in spec if axis)
    total = sum(size for size, _ in sizes.values())
    per_device = sum(size // parts for size, parts in sizes.values())
    replicated = [name for name, (size, parts) in sizes.items() if parts == 1 and size * 100 > total]
    text = f"{per_device / 1e6:.2f} of {total / 1e6:.2f} million parameters on each of {len(layout.devices)} devices"
    return text + (f"; whole on each: {', '.join(replicated)}" if replicated else "")


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1 or (isinstance(x, jax.Array) and not x.is_fully_addressable):
        return jax.device_put(x, sharding)
    host = np.asarray(x)  # equal in all processes; each puts its part
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _microbatches_first(batch: Any) -> Any:
    return jax.tree.map(lambda x: x.swapaxes(0, 1), batch)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
