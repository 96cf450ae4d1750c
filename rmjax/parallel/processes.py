"""Coordination of the processes of one run."""

from __future__ import annotations

import jax
import numpy as np


def sync_processes(name: str) -> None:
    """Waits until every process has called this function with the same name."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def gather(array: np.ndarray) -> np.ndarray:
    """Returns the arrays of all processes, which have the same shape, `[processes, ...]`."""
    if jax.process_count() == 1:
        return array[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=False))


def is_main_process() -> bool:
    """Returns True for the process that writes files and prints for all."""
    return jax.process_index() == 0
