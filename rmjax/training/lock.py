"""Lock of a run directory: one run at a time writes to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process

NAME = "run.lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, which is created if it is missing. The main process locks for the others.

    The lock is that of `flock` on a file in the folder. The kernel releases it when the process ends, however it ends,
    so no lock is stale. It works on local file systems, and between machines on NFS and Lustre where their locks are
    switched on. On a file system without locks a warning says so.

    Raises:
        InputError: another process holds it; the message has its number, host and start.
    """
    if not is_main_process():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / NAME
    handle = _acquire(file)
    try:
        yield
    finally:
        # The name goes before the lock, so that it never belongs to another process.
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(handle)


def _acquire(file: Path) -> int:
    import fcntl

    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise InputError(f"{file.parent} is in use{_holder(file)}: wait, or give another --workdir") from None
        except OSError as error:
            print(f"warning: {file.parent} cannot be locked ({error.strerror}): start no second run", file=sys.stderr)
            return handle
        if _is_current(handle, file):
            break
        os.close(handle)  # its holder has just deleted it
    stated = {"process": os.getpid(), "host": socket.gethostname(), "start": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(stated).encode())
    return handle


def _is_current(handle: int, file: Path) -> bool:
    """Returns True if the open file still has its name."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _holder(file: Path) -> str:
    """Returns who holds the lock, as the end of a clause."""
    try:
        stated = json.loads(file.read_text())
        return f" by process {stated['process']} on {stated['host']}, started {stated['start']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
