"""Files and folders that survive a crash of the machine: written completely, and to the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PARTIAL = ".partial"  # ending of the names of files and folders that are not complete


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file atomically: after a crash it has the old content or the new one."""
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until the disk has a file, or the names in a folder; file systems that cannot say so are not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems do not sync folders
        pass
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Waits until the disk has a folder with everything in it."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def remove_folder(folder: Path) -> None:
    """Deletes a folder; its name goes first, so that nobody reads what is left if the process ends in between."""
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    os.rename(folder, partial)
    shutil.rmtree(partial)


def remove_partial(folder: Path) -> None:
    """Deletes what interrupted processes left in a folder."""
    for path in folder.glob(f"*{PARTIAL}"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
