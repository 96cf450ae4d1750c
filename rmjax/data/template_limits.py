"""Limits on time and memory for the rendering of a chat template.

A template is a program of whoever made the tokenizer. The sandbox of jinja2 keeps it from files and from Python's
internals, but not from endless loops and huge texts.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import threading
import time
from collections.abc import Iterator

from rmjax.errors import InputError

SECONDS = 5.0  # for one call
SECONDS_EACH = 0.05  # for every conversation of it
MEMORY = 2**30  # bytes that the process may grow by
MEMORY_EACH = 2**20  # for every conversation
INTERVAL = 0.02  # seconds between two checks


class _Stopped(BaseException):
    """Raised inside a template. It is no `Exception`, so that no code of the template's libraries handles it."""


@contextlib.contextmanager
def limited(conversations: int, *, seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Stops its body if it takes too long or too much memory.

    A second thread looks at both, and raises an exception in this one. It cannot interrupt a single operation of
    Python, such as the multiplication of a text.

    Args:
        conversations: number of conversations that are rendered.
        seconds: limit of one conversation, of the thread's own computing time: a busy machine does not matter.
        memory: bytes of resident memory that the process may grow by.

    Raises:
        InputError: the body was stopped.
    """
    thread, done, reason = threading.get_ident(), threading.Event(), ""
    # macOS has no clock of another thread.
    clock = time.pthread_getcpuclockid(thread) if hasattr(time, "pthread_getcpuclockid") else time.CLOCK_MONOTONIC
    end = time.clock_gettime(clock) + seconds + SECONDS_EACH * conversations
    most = _resident() + memory + MEMORY_EACH * conversations

    def watch() -> None:
        nonlocal reason
        while not done.wait(INTERVAL):
            late = time.clock_gettime(clock) > end
            if late or _resident() > most:
                reason = f"more than {seconds:g} seconds" if late else f"more than {memory // 2**20} MiB of memory"
                _raise_in(thread, _Stopped)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    try:  # the exception may also come while the thread starts or ends
        try:
            watcher.start()
            yield
        finally:
            done.set()
            watcher.join()
            _raise_in(thread, None)  # takes back one that has not come yet
    except _Stopped:
        raise InputError(f"the chat template takes {reason} to render: use another tokenizer or template") from None


def _resident() -> int:
    """Returns the resident memory of the process in bytes; 0 if it is not known."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Raises an exception in a thread at its next instruction; None takes back one that is not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind) if kind else None)
