"""Layouts that cut parameters: fully sharded data parallelism, tensor parallelism, and both (jit with shardings).

The devices form a mesh of two axes. A batch is split over `data`; devices along `tensor` compute the same shard
together. Which axis of a parameter is cut over which axis of the mesh is said by `RULES`, and XLA inserts the gathers
and reductions that follow from it (Xu et al. 2105.04663; fully sharded: Rajbhandari et al. 1910.02054).
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
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmjax.errors import InputError

DATA, TENSOR = "data", "tensor"

# The first pattern that is found in a parameter's path says how its last axes are cut: a layer axis before them stays
# whole, and so do the axes marked None. Moments of the optimizer have their parameter's path behind their own. Of two
# matrices in a row the first is cut by its outputs and the second by its inputs, so that one sum joins them.
RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"trunk/embedding/embedding$", (TENSOR, DATA)),
    (r"trunk/(position|token_type)/embedding$", (None, DATA)),
    (r"(query|key|value|up|gate)/kernel$", (DATA, TENSOR)),
    (r"(query|key|value|up|gate)/bias$", (TENSOR,)),
    (r"(out|down)/kernel$", (TENSOR, DATA)),
    (r"(out|down)/bias$", ()),
    (r"norm/(scale|bias)$", ()),
    (r"output/kernel$", (DATA, TENSOR)),
    (r"pooler/(kernel|bias)$", ()),
    (r"reward/[^/]+$", ()),
)


@dataclasses.dataclass(frozen=True)
class Sharded:
    """Parameters cut by `RULES` over a mesh of devices, the batch split over its `data` axis.

    Attributes:
        devices: of all processes, in order of processes.
        tensor: length of the `tensor` axis; the `data` axis has the rest.
        fsdp: cut parameters along `data` too; otherwise they are repeated along it.
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
        """(index, count): which of `count` equal blocks of shards this process builds."""
        mine = [i for i, d in enumerate(self.devices) if d.process_index == jax.process_index()]
        first, last = mine[0] // self.tensor, mine[-1] // self.tensor
        return first // (last - first + 1), self.shards // (last - first + 1)

    def shardings(self, tree: Any) -> Any:
        """The sharding of every array of a state, found by its path.

        An axis whose length the mesh does not divide stays whole.

        Raises:
            InputError: a parameter that no rule speaks of.
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
            cut.pop()  # as XLA writes what a step leaves: equal shardings must also be spelled alike
        return PartitionSpec(*cut)

    def device_put(self, state: Any) -> Any:
        """The state cut over the mesh."""
        return jax.tree.map(_put, state, self.shardings(state))

    def put_param(self, path: str, array: np.ndarray) -> jax.Array:
        """The parameter cut over the mesh."""
        return _put(array, NamedSharding(self.mesh, self._spec(path, array.shape)))

    def jit_init(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a function, computed in the shardings that its shapes have here."""
        out = self.shardings(jax.eval_shape(function, *arguments))
        return jax.jit(function, out_shardings=out)(*arguments)

    def unreplicate(self, state: Any) -> Any:
        """The state itself: its arrays have no axis of the layout's own."""
        return state

    def restore_args(self, shapes: Any) -> Any:
        """Shapes and dtypes with their shardings."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            shapes,
            self.shardings(shapes),
        )

    def sum_over_shards(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The function of every shard, summed; one program sees them all."""

        def summed(params: Any, batch: Any) -> Any:
            if self.shards == 1:
                return function(params, jax.tree.map(lambda x: x[0], batch))
            return jax.tree.map(lambda x: x.sum(0), self._each(function)(params, batch))

        return summed

    def reduce(self, sums: Any) -> Any:
        """The sums themselves: there is one program."""
        return sums

    def compile_step(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """See `Layout`."""
        compiled = self.program(step)
        return lambda state, batch: compiled(state, self._feed(batch))

    def program(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
        """The jitted step on arrays of the whole batch, split as `by_shard`; the state is donated."""

        def whole(state: Any, batch: Any) -> tuple[Any, Any]:
            with self._traced():
                state, report = step(state, _microbatches_first(batch))
            # Left where it lay, so that it is donated and the next step is not compiled anew.
            return jax.lax.with_sharding_constraint(state, self.shardings(state)), self._everywhere(report)

        return jax.jit(whole, donate_argnums=(0,))

    @property
    def by_shard(self) -> NamedSharding:
        """How the leading axis of a batch is split."""
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

    def _each(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The function of every shard, each computed where the shard lies."""
        return jax.vmap(function, in_axes=(None, 0), spmd_axis_name=DATA)

    def _traced(self) -> AbstractContextManager:
        """Within it the model knows that there is a mesh; see `rmjax.models.layers.replicate_activations`."""
        return jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh)

    def _everywhere(self, tree: Any) -> Any:
        return jax.lax.with_sharding_constraint(tree, NamedSharding(self.mesh, PartitionSpec()))

    def _feed(self, batch: Any) -> Any:
        """This process's shards as its part of the arrays of the whole batch."""
        if jax.process_count() == 1:
            return jax.device_put(batch, self.by_shard)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(self.by_shard, x, (self.shards, *x.shape[1:])), batch
        )


def describe(layout: Sharded, params: Any) -> str:
    """How much of the parameters each device holds, and which large ones (over 1 % of all) are whole everywhere."""
    sizes = {}
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        spec = layout._spec(_name(path), x.shape)
        sizes[_name(path)] = math.prod(x.shape), math.prod(layout.mesh.shape[axis] for axis in spec if axis)
    total = sum(size for size, _ in sizes.values())
    held = sum(size // parts for size, parts in sizes.values())
    whole = [name for name, (size, parts) in sizes.items() if parts == 1 and size * 100 > total]
    text = f"{held / 1e6:.2f} of {total / 1e6:.2f} million parameters on each of {len(layout.devices)} devices"
    return text + (f"; whole on each: {', '.join(whole)}" if whole else "")


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1 or (isinstance(x, jax.Array) and not x.is_fully_addressable):
        return jax.device_put(x, sharding)
    host = np.asarray(x)  # the same in every process; each takes its part
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _microbatches_first(batch: Any) -> Any:
    return jax.tree.map(lambda x: x.swapaxes(0, 1), batch)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
