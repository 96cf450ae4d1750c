"""What takes long to make and is always the same: made once, and kept in `~/.cache/rmjax/kept` for the next run.

A file is named after what it was made from, code included, and begins with the sha256 of what follows; one that does
not agree with itself is made again. What cannot be written costs time and nothing else. Together the files take
`LIMIT` bytes at most: what was not used for longest goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

FOLDER = "~/.cache/rmjax/kept"
LIMIT = 4 * 10**9

Item = TypeVar("Item")


def kept(
    name: str, made_from: bytes, make: Callable[[], Item], write: Callable[[Item], bytes], read: Callable[[bytes], Item]
) -> Item:
    """What `make` makes, or made when it was asked for the same before.

    Args:
        name: what it is, for people who look into the folder.
        made_from: everything that it depends on, but for the code: equal bytes, equal result.
        make: makes it.
        write: the bytes that are kept of it.
        read: the same from those bytes.
    """
    path = Path(FOLDER).expanduser() / f"{name}-{hashlib.sha256(made_from).hexdigest()[:32]}"
    with contextlib.suppress(OSError):
        stored = path.read_bytes()
        if hashlib.sha256(stored[32:]).digest() == stored[:32]:
            os.utime(path)
            return read(stored[32:])
    item = make()
    with contextlib.suppress(OSError):
        _write(path, write(item))
    return item


def code(*files: str) -> bytes:
    """A digest of source files of this package, by module name: of the code that makes something."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{file}.py").read_bytes() for file in files)).digest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, since runs that start together write at the same time; whichever comes last stays.
    handle, partial = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(hashlib.sha256(content).digest() + content)
    os.replace(partial, path)
    newest_first = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
    total = 0
    for each in newest_first:
        total += each.stat().st_size
        if total > LIMIT and each != path:
            each.unlink()
