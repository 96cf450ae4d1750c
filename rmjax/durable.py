"""Files and folders that survive a crash of the machine: written completely, and to the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rmjax.errors import InputError

PARTIAL = ".partial"  # ending of the names of files and folders that are not complete
# Errors of writing in the messages of libraries that do not raise OSError, such as tensorstore's and those in Rust.
REASONS = (
    "No space left on device",
    "Disk quota exceeded",
    "Permission denied",
    "Read-only file system",
    "File too large",
)


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file atomically: after a crash it has the old content or the new one.

    Raises:
        InputError: the disk is full, or does not let this process write; the old content stays.
    """
    partial = path.with_name(path.name + PARTIAL)
    with writing(path, partial):
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync(path.parent)


@contextlib.contextmanager
def writing(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Turns errors of writing a file or folder into one sentence, and deletes what is incomplete.

    Raises:
        InputError: the disk is full, or does not let this process write.
    """
    try:
        yield
    except Exception as error:
        stated = next((each for each in REASONS if each in str(error)), None)
        reason = error.strerror if isinstance(error, OSError) else stated
        if reason is None:
            raise
        if partial and partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        elif partial:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        raise InputError(
            f"{path} cannot be written ({reason}): what was there before is unharmed; when it can be written, the same "
            "command goes on"
        ) from error


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
