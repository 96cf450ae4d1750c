"""Layouts of state and batch over devices.

A step, an evaluation and a scorer are written once, for one shard (the part of a batch on one device). A layout
compiles them for all devices:

    pmap          parameters are replicated on every device; `jax.pmap`
    fsdp          parameters are sharded over the devices of a batch, and gathered before use
    tensor        the matrices of a layer are sharded, and their devices compute the same batch together
    fsdp_tensor   both, along two axes of a mesh

Several processes (hosts) add their devices to one list: see `docs/scaling.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmjax.errors import InputError
from rmjax.parallel.mesh import Sharded

AXIS = "shards"

# (params, batch of one shard) -> a tree of sums
Sums = Callable[[Any, Any], Any]


class Loop(NamedTuple):
    """A loop over the state of one shard.

    Attributes:
        prepare: parameters -> what `step` takes instead of them; computed once before the loop.
        step: (prepared parameters, fixed, state, count) -> the next state. The count grows by one in each step.
        unfinished: (state, count) -> bool, whether to take a step.
    """

    prepare: Callable[[Any], Any]
    step: Callable[[Any, Any, Any, jax.Array], Any]
    unfinished: Callable[[Any, jax.Array], jax.Array]


class Layout(Protocol):
    """Layout of state and batches over devices.

    Compiled functions take a batch as arrays `[shards of the process, ...]`. An unreplicated tree has no axis that the
    layout adds: it has the shapes that `module.init` and the optimizer give.
    """

    @property
    def devices(self) -> tuple[jax.Device, ...]:
        """The devices of all processes."""

    @property
    def shards(self) -> int:
        """S, the number of shards of a batch, over all processes."""

    @property
    def process(self) -> tuple[int, int]:
        """(index, count): this process builds block `index` of `count` equal blocks of shards."""

    def device_put(self, state: Any) -> Any:
        """Puts an unreplicated state on the devices. May alias the input buffers, which the train step donates."""

    def put_param(self, path: str, array: np.ndarray) -> jax.Array:
        """Puts one parameter from the host on the devices, unreplicated.

        `path` is the path in the tree of parameters, joined by slashes.
        """

    def jit_init(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the unreplicated result of a jitted function, sharded from the start."""

    def unreplicate(self, state: Any) -> Any:
        """Returns the state without axes that the layout adds, ready to save; inverse of `device_put`."""

    def restore_args(self, shapes: Any) -> Any:
        """Returns shapes, dtypes and shardings to restore an unreplicated state from disk."""

    def sum_over_shards(self, function: Sums) -> Sums:
        """Maps a function of one shard over the shards of a program, and sums the results."""

    def reduce(self, sums: Any) -> Any:
        """Adds the sums of all programs."""

    def compile_step(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """Compiles `step(state, batch) -> (state, report)` for all devices, on batches `[shards, M, ...]`.

        The state is donated. The step gets arrays `[M, ...]`; `sum_over_shards` splits the axes after M.
        """

    def compile_sums(self, function: Sums) -> Sums:
        """Compiles `(params, batch) -> sums` for all devices, on batches `[shards, M, ...]`, as `compile_step`."""

    def compile_map(self, function: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
        """Compiles a function of one shard to `(params, batch [shards, ...]) -> [S, ...]`.

        Every process gets the results of all S shards.
        """

    def compile_each(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Compiles a function of one shard to `(params, tree [shards, ...]) -> tree [shards, ...]`.

        The results stay on the devices of their shards.
        """

    def compile_loop(self, loop: Loop) -> Callable[[Any, Any, Any, Any], tuple[Any, jax.Array]]:
        """Compiles a loop to `(params, fixed [shards, ...], state [shards, ...], count [shards]) -> (state, count)`.

        The state is donated. The counts of shards that one program has are equal before and after.
        """


@dataclasses.dataclass(frozen=True)
class Pmap:
    """Data parallelism with replicated parameters: `jax.pmap`.

    `Sharded(devices, tensor=1, fsdp=False)` computes the same. `Pmap` exists because `jax.pmap` is a requirement of the
    project.
    """

    devices: tuple[jax.Device, ...]

    @property
    def shards(self) -> int:
        """S, the number of devices."""
        return len(self.devices)

    @property
    def process(self) -> tuple[int, int]:
        """(index, count) of this process."""
        return jax.process_index(), jax.process_count()

    def device_put(self, state: Any) -> Any:
        """Puts a copy of every array on every device, along a new leading axis.

        The sharding equals that of the results of `jax.pmap`. So the first step can donate its state, and the second
        step does not compile again.
        """
        sharding = NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(AXIS))
        mine = [device for device in self.devices if device.process_index == jax.process_index()]

        def copies(x: Any) -> jax.Array:
            here = x.addressable_shards[0].data if isinstance(x, jax.Array) else x
            x = jnp.asarray(here)[None]
            shards = [jax.device_put(x, device) for device in mine]
            return jax.make_array_from_single_device_arrays((self.shards, *x.shape[1:]), sharding, shards)

        return jax.tree.map(copies, state)

    def put_param(self, path: str, array: np.ndarray) -> jax.Array:
        """Puts the parameter on the first device of this process."""
        return jax.device_put(array, jax.local_devices()[0])

    def jit_init(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns `function(*arguments)`, computed on one device."""
        return jax.jit(function)(*arguments)

    def unreplicate(self, state: Any) -> Any:
        """Returns the first replica in each process, without communication."""

        def first(x: jax.Array) -> jax.Array:
            x = x.addressable_shards[0].data.squeeze(0)
            if jax.process_count() == 1:
                return x
            return jax.make_array_from_single_device_arrays(x.shape, self._one_each(), [x])

        return jax.tree.map(first, state)

    def restore_args(self, shapes: Any) -> Any:
        """Returns shapes and dtypes on the first device of each process, as `unreplicate`."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._one_each()), shapes)

    def local(self) -> Pmap:
        """Returns the layout of the devices of this process alone, for programs that processes run independently."""
        return Pmap(tuple(device for device in self.devices if device.process_index == jax.process_index()))

    def local_part(self, state: Any) -> Any:
        """Returns the copies of a state on the devices of this process, as `local` lays them out; nothing is copied."""
        local = self.local()
        sharding = NamedSharding(Mesh(np.array(local.devices), (AXIS,)), PartitionSpec(AXIS))

        def part(x: jax.Array) -> jax.Array:
            shards = [shard.data for shard in x.addressable_shards]
            return jax.make_array_from_single_device_arrays((len(shards), *x.shape[1:]), sharding, shards)

        return jax.tree.map(part, state)

    def _one_each(self) -> jax.sharding.Sharding:
        if jax.process_count() == 1:
            return jax.sharding.SingleDeviceSharding(self.devices[0])
        first = {device.process_index: device for device in reversed(self.devices)}
        return NamedSharding(Mesh(np.array([first[p] for p in sorted(first)]), (AXIS,)), PartitionSpec())

    def sum_over_shards(self, function: Sums) -> Sums:
        """Returns the function itself: a program has one shard."""
        return function

    def reduce(self, sums: Any) -> Any:
        """Adds the sums of all devices."""
        return jax.lax.psum(sums, AXIS)

    def compile_step(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """See `Layout`; the report has no replica axis."""
        return jax.pmap(step, axis_name=AXIS, devices=self.devices, donate_argnums=(0,), out_axes=(0, None))

    def compile_sums(self, function: Sums) -> Sums:
        """See `Layout`."""
        return jax.pmap(function, axis_name=AXIS, devices=self.devices, out_axes=None)

    def compile_map(self, function: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
        """See `Layout`. One process gathers nothing, so that no device waits for another between batches."""
        if jax.process_count() == 1:
            return jax.pmap(function, axis_name=AXIS, devices=self.devices)

        def gathered(params: Any, batch: Any) -> jax.Array:
            return jax.lax.all_gather(function(params, batch), AXIS)

        return jax.pmap(gathered, axis_name=AXIS, devices=self.devices, out_axes=None)

    def compile_each(self, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """See `Layout`."""
        return jax.pmap(function, axis_name=AXIS, devices=self.devices)

    def compile_loop(self, loop: Loop) -> Callable[[Any, Any, Any, Any], tuple[Any, jax.Array]]:
        """See `Layout`. Every device counts its own steps."""

        def looped(params: Any, fixed: Any, state: Any, count: jax.Array) -> tuple[Any, jax.Array]:
            prepared = loop.prepare(params)
            return jax.lax.while_loop(
                lambda carry: loop.unfinished(*carry),
                lambda carry: (loop.step(prepared, fixed, *carry), carry[1] + 1),
                (state, count),
            )

        return jax.pmap(looped, axis_name=AXIS, devices=self.devices, donate_argnums=(2,))


def make_layout(*, layout: str, devices: int = 0, tensor: int = 0) -> Layout:
    """Returns the layout that the configuration names.

    Args:
        layout: `pmap`, `fsdp`, `tensor` or `fsdp_tensor`.
        devices: number of devices to use in each process; 0 for all.
        tensor: number of devices that share the matrices of a layer; 0 for all devices with `tensor`, and the only
            value for `pmap` and `fsdp`.

    Raises:
        InputError: an unknown layout, more devices than exist, or a tensor axis that does not divide the devices.
    """
    if layout not in ("pmap", "fsdp", "tensor", "fsdp_tensor"):
        raise InputError(f"unknown parallel.layout {layout!r}: known are pmap, fsdp, tensor, fsdp_tensor")
    chosen = tuple(pick_devices(devices))
    if "tensor" not in layout:
        if tensor:
            raise InputError(f"parallel.tensor={tensor} means nothing with parallel.layout={layout}: set it to 0")
        return Pmap(chosen) if layout == "pmap" else Sharded(chosen, tensor=1, fsdp=True)
    if layout == "tensor":
        tensor = tensor or len(chosen)
    if tensor < 1 or len(chosen) % tensor:
        raise InputError(
            f"parallel.layout={layout} needs parallel.tensor to divide the {len(chosen)} device(s), found {tensor}"
        )
    return Sharded(chosen, tensor=tensor, fsdp=layout == "fsdp_tensor")


def pick_devices(count: int) -> Sequence[jax.Device]:
    """Returns the first `count` devices of every process in order, or all of them for 0."""
    local = jax.local_devices()
    if not 0 <= count <= len(local):
        raise InputError(f"parallel.devices={count}, but this process has {len(local)} device(s); 0 takes all of them")
    everywhere = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if not count:
        return everywhere
    return [d for p in range(jax.process_count()) for d in [d for d in everywhere if d.process_index == p][:count]]
