"""Stop of a run by SIGINT, SIGTERM or SIGHUP: between two steps after it has saved, and elsewhere at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Interrupted(SystemExit):
    """End of a run that was asked to stop and has saved; its code is the signal's exit status."""


def stop_requested(caught: list[int], due: bool) -> bool:
    """Returns True if a signal has come, to any process of several.

    Several processes ask each other only if `due`, which must be true at the same step in all of them.
    """
    import jax  # here, so that the scripts can use this module before they import jax
    import numpy as np

    if jax.process_count() == 1:
        return bool(caught)
    if not due:
        return False
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array(bool(caught))).any())


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects SIGINT, SIGTERM and SIGHUP in a list; a second signal of the same kind has its usual effect.

    The first one is answered at once, also while a step is computed.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():  # signals belong to the caller
        yield caught
        return
    answered: list[int] = []

    def answer(number: int) -> None:
        if answered:  # Python has not called `note` for the first one yet
            if wakeup >= 0:
                os.write(wakeup, bytes([number]))
            return
        answered.append(number)
        name = signal.Signals(number).name
        os.write(2, f"\n{name}: stops and saves after this step; a second {name} ends at once\n".encode())

    def note(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(number, before[number])
        _wake(wakeup)

    with _watched(answer) as handle:
        wakeup = _wake(handle)
        for number in _signals():
            before[number] = signal.signal(number, note)
        try:
            yield caught
        finally:
            for handled, handler in before.items():
                signal.signal(handled, handler)
            _wake(wakeup)


@contextlib.contextmanager
def ended_at_once() -> Iterator[None]:
    """Lets SIGINT, SIGTERM and SIGHUP end the process at once, with a sentence that says how to go on.

    It is for scripts whose files stay valid if the process ends at any moment. In a block of `catch_signals` that block
    gets the signals instead.
    """

    def end(number: int) -> None:
        sentence = f"\nended by {signal.Signals(number).name}; the same command goes on from what is saved\n"
        os.write(2, sentence.encode())
        os._exit(128 + number)

    with _watched(end) as handle:
        before = {number: signal.signal(number, lambda *_: None) for number in _signals()}
        wakeup = _wake(handle)
        try:
            yield
        finally:
            _wake(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _watched(action: Callable[[int], None]) -> Iterator[int]:
    """Yields a file for `_wake`; a thread calls `action` with the number of each signal that is written to it.

    Python calls a signal handler only between two Python instructions, and XLA may compile or compute for minutes
    between them. The file is written at once.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        with open(reading, "rb", buffering=0) as signals:
            while number := signals.read(1):  # empty at the end of the block
                action(number[0])

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield writing
    finally:
        os.close(writing)


def _wake(handle: int) -> int:
    """Sets the file that receives the numbers of signals when they come; returns the one before, -1 for none."""
    return signal.set_wakeup_fd(handle, warn_on_full_buffer=False)


def _signals() -> list[signal.Signals]:
    """Returns the signals that stop a run; SIGHUP only where it exists and is not ignored, as `nohup` does."""
    found = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found
