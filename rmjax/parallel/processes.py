"""The processes of one run: which of them writes, and where they wait for each other."""

from __future__ import annotations

import jax


def sync_processes(name: str) -> None:
    """Returns when every process has called it with that name."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def is_main_process() -> bool:
    """Whether this is the process that writes and prints for all."""
    return jax.process_index() == 0
