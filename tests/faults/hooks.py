"""Faults inside of a process, at its N-th change of a file."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(folder: str, kill_at: int = 0, copy_to: str = "") -> None:
    """Counts every change of a file in a folder: opened for writing, synced, renamed, removed, created.

    Args:
        folder: the changes in it count; those before it exists do not.
        kill_at: SIGKILL before the change with this number; 0: never.
        copy_to: a folder that receives a copy of the folder, N, before the change N, and what the change is, N.txt.
    """
    numbers = itertools.count(1)

    def change(what: str, path: Any) -> None:
        number = next(numbers)
        if copy_to:
            Path(copy_to, f"{number}.txt").write_text(f"{what} {path}")
            with contextlib.suppress(OSError):  # not there yet, or a thread of orbax renames a file
                shutil.copytree(folder, Path(copy_to, str(number)))
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and flags & WRITING and _inside(path, folder):
                change(event, os.fsdecode(path))
        elif event in CHANGES and isinstance(arguments[0], (str, bytes, Path)):
            path = os.fsdecode(arguments[0])
            # rmtree names files relative to a folder that it has open; nothing else here does.
            if _inside(path, folder) or (not os.path.isabs(path) and arguments[-1] not in (-1, None)):
                change(event, path)

    sync = os.fsync

    def fsync(handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        # A file that was opened only to sync it has not changed since.
        if _inside(path, folder) and fcntl.fcntl(handle, fcntl.F_GETFL) & WRITING:
            change("fsync", path)
        sync(handle)

    os.fsync = fsync
    sys.addaudithook(hook)


def _inside(path: str | bytes, folder: str) -> bool:
    return os.path.abspath(os.fsdecode(path)).startswith(folder)
