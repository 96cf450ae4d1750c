"""Where a step runs: the layout of state and batch over devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmjax.errors import InputError

AXIS = "shards"


@dataclasses.dataclass(frozen=True)
class Pmap:
    """Parameters replicated on every device, the batch split over them: `jax.pmap`."""

    devices: tuple[jax.Device, ...]

    @property
    def shards(self) -> int:
        """S, the number of parts of a batch."""
        return len(self.devices)

    def replicate(self, state: Any) -> Any:
        """A copy of every array on every device, along a new leading axis, where `compile` leaves its results.

        The very sharding that `jax.pmap` returns: donation happens at the first step too, and the second step does not
        compile anew for another one.
        """
        sharding = NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(AXIS))

        def copies(x: Any) -> jax.Array:
            x = jnp.asarray(x)[None]
            shards = [jax.device_put(x, device) for device in self.devices]
            return jax.make_array_from_single_device_arrays((self.shards, *x.shape[1:]), sharding, shards)

        return jax.tree.map(copies, state)

    def local(self, state: Any) -> Any:
        """The state without its replica axis, taken from the first device without gathering."""
        return jax.tree.map(lambda x: x.addressable_shards[0].data.squeeze(0), state)

    def compile(self, step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """`step(state, batch)` over all devices; the state is donated, what is reported comes back once."""
        return jax.pmap(step, axis_name=AXIS, devices=self.devices, donate_argnums=(0,), out_axes=(0, None))


def make_layout(*, layout: str, devices: int) -> Pmap:
    """The layout named in the configuration.

    Args:
        layout: `pmap`.
        devices: how many of the local devices to use; 0 takes all.

    Raises:
        InputError: an unknown layout, or more devices asked for than there are.
    """
    if layout != "pmap":
        raise InputError(f"unknown parallel.layout {layout!r}: known is pmap")
    return Pmap(tuple(pick_devices(devices)))


def pick_devices(count: int) -> Sequence[jax.Device]:
    """The first `count` local devices, or all of them for 0."""
    local = jax.local_devices()
    if not 0 <= count <= len(local):
        raise InputError(f"parallel.devices={count}, but this process has {len(local)} device(s); 0 takes all of them")
    return local[: count or len(local)]
