"""Stop of a run by SIGINT, SIGTERM or SIGHUP: noticed between two steps, after which the run saves and ends."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


class Interrupted(SystemExit):
    """End of a run that was asked to stop and has saved; its code is the signal's exit status."""


def stop_requested(caught: list[int], due: bool) -> bool:
    """Returns True if a signal has come, to any process of several.

    Several processes ask each other only if `due`, which must be true at the same step in all of them.
    """
    if jax.process_count() == 1:
        return bool(caught)
    if not due:
        return False
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array(bool(caught))).any())


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects SIGINT, SIGTERM and SIGHUP in a list; a second signal of the same kind has its usual effect."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    try:
        for number in _signals():
            before[number] = signal.signal(number, note)
    except ValueError:
        pass  # not the main thread: signals belong to the caller
    try:
        yield caught
    finally:
        for handled, handler in before.items():
            signal.signal(handled, handler)


def _signals() -> list[signal.Signals]:
    """Returns the signals that stop a run; SIGHUP only where it exists and is not ignored, as `nohup` does."""
    found = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found
