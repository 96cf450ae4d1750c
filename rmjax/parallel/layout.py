"""Where a step runs: the layout of state and batch over devices.

A step, an evaluation and a scorer are written once, for the part of a batch that one device holds (a shard), and a
layout says how it becomes a program for all devices:

    pmap          every device holds the parameters; `jax.pmap`
    fsdp          each parameter is cut over the devices that share a batch, and gathered where it is used
    tensor        the matrices of a layer are cut, so that its devices compute one batch together
    fsdp_tensor   both, along two axes of a mesh

Several processes (hosts) are one longer list of devices: see `docs/scaling.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmjax.errors import InputError
from rmjax.parallel.mesh import Sharded

AXIS = "shards"

# (params, batch of one shard) -> a tree of sums
Sums = Callable[[Any, Any], Any]


class Layout(Protocol):
    """How state and batches lie over devices. Batches reach compiled functions as arrays `[shards of process, ...]`."""

    devices: tuple[jax.Device, ...]

    @property
    def shards(self) -> int:
        """S, the number of parts of a batch, over all processes."""

    @property
    def process(self) -> tuple[int, int]:
        """(index, count): which of `count` equal blocks of shards this process builds."""

    def device_put(self, state: Any) -> Any:
        """The state laid out over the devices. It may share memory with what is given, which a step then takes."""

    def put_param(self, path: str, array: np.ndarray) -> jax.Array:
        """One parameter from the host, plain; `path` is that in the tree of parameters, joined by slashes."""

    def jit_init(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The compiled function's result, plain; never whole on a device that shall hold a part of it."""

    def unreplicate(self, state: Any) -> Any:
        """The state without axes of the layout's own, as it is saved; `device_put` is its inverse."""

    def restore_args(self, shapes: Any) -> Any:
        """Shapes, dtypes and shardings to restore a plain state with."""

    def sum_over_shards(self, function: Sums) -> Sums:
        """The function of what one program sees of a batch, summed over the shards in it."""

    def reduce(self, sums: Any) -> Any:
        """The sums of all programs together."""

    def compile_step(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """`step(state, batch) -> (state, report)` over all devices, on batches `[shards, M, ...]`; donates the state.

        The step sees `[M, ...]`, with whatever `sum_over_shards` takes apart behind M.
        """

    def compile_sums(self, function: Sums) -> Sums:
        """`(params, batch) -> sums` over all devices, on batches `[shards, M, ...]`; the function sees `[M, ...]`."""

    def compile_map(self, function: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
        """`(params, batch [shards, ...]) -> [S, ...]`: the function of every shard, whole in every process."""


@dataclasses.dataclass(frozen=True)
class Pmap:
    """Parameters replicated on every device, the batch split over them: `jax.pmap`."""

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
        """A copy of every array on every device, along a new leading axis, where `compile_step` leaves its results.

        The very sharding that `jax.pmap` returns: donation happens at the first step too, and the second step does not
        compile anew for another one.
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
        """The parameter on the first device of this process."""
        return jax.device_put(array, jax.local_devices()[0])

    def jit_init(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)` on one device."""
        return jax.jit(function)(*arguments)

    def unreplicate(self, state: Any) -> Any:
        """The state without its replica axis, one copy in each process, taken without gathering."""

        def first(x: jax.Array) -> jax.Array:
            x = x.addressable_shards[0].data.squeeze(0)
            if jax.process_count() == 1:
                return x
            return jax.make_array_from_single_device_arrays(x.shape, self._one_each(), [x])

        return jax.tree.map(first, state)

    def restore_args(self, shapes: Any) -> Any:
        """As `unreplicate` leaves them: whole on the first device of each process."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._one_each()), shapes)

    def _one_each(self) -> jax.sharding.Sharding:
        if jax.process_count() == 1:
            return jax.sharding.SingleDeviceSharding(self.devices[0])
        first = {device.process_index: device for device in reversed(self.devices)}
        return NamedSharding(Mesh(np.array([first[p] for p in sorted(first)]), (AXIS,)), PartitionSpec())

    def sum_over_shards(self, function: Sums) -> Sums:
        """The function itself: a program sees one shard."""
        return function

    def reduce(self, sums: Any) -> Any:
        """Sums over the devices."""
        return jax.lax.psum(sums, AXIS)

    def compile_step(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """See `Layout`; what is reported comes back once."""
        return jax.pmap(step, axis_name=AXIS, devices=self.devices, donate_argnums=(0,), out_axes=(0, None))

    def compile_sums(self, function: Sums) -> Sums:
        """See `Layout`."""
        return jax.pmap(function, axis_name=AXIS, devices=self.devices, out_axes=None)

    def compile_map(self, function: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
        """See `Layout`. Within one process nothing is gathered, so that no device waits for another between batches."""
        if jax.process_count() == 1:
            return jax.pmap(function, axis_name=AXIS, devices=self.devices)

        def gathered(params: Any, batch: Any) -> jax.Array:
            return jax.lax.all_gather(function(params, batch), AXIS)

        return jax.pmap(gathered, axis_name=AXIS, devices=self.devices, out_axes=None)


def make_layout(*, layout: str, devices: int = 0, tensor: int = 0) -> Layout:
    """The layout named in the configuration.

    Args:
        layout: `pmap`, `fsdp`, `tensor` or `fsdp_tensor`.
        devices: how many of each process's devices to use; 0 takes all.
        tensor: how many devices share the matrices of a layer; 0 takes all of them for `tensor`, and is the only value
            for `pmap` and `fsdp`.

    Raises:
        InputError: an unknown layout, more devices asked for than there are, or a tensor axis that does not fit.
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
    """The first `count` devices of every process in order, or all of them for 0."""
    local = jax.local_devices()
    if not 0 <= count <= len(local):
        raise InputError(f"parallel.devices={count}, but this process has {len(local)} device(s); 0 takes all of them")
    everywhere = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if not count:
        return everywhere
    return [d for p in range(jax.process_count()) for d in [d for d in everywhere if d.process_index == p][:count]]
