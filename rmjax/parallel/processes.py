"""Coordination of the processes of one run."""

from __future__ import annotations

import jax


def sync_processes(name: str) -> None:
    """Waits until every process has called this function with the same name."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def is_main_process() -> bool:
    """Returns True for the process that writes files and prints for all."""
    return jax.process_index() == 0
