"""On-disk cache for deterministic results: the gold corpus, BPE tokenizers, token ids.

Files are in `~/.cache/rmjax/data`. The name of a file contains a hash of everything that the result depends on, the
source code of `rmjax.data` included. A file begins with the sha256 of its content; a damaged file is computed again. If
a file cannot be written, the result is computed in every run. The files take at most `LIMIT` bytes together; the least
recently used are deleted first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

FOLDER = "~/.cache/rmjax/data"
LIMIT = 4 * 10**9

Item = TypeVar("Item")
Parts = Sequence[bytes | memoryview]


def cached(
    name: str, key: bytes, compute: Callable[[], Item], write: Callable[[Item], Parts], read: Callable[[bytes], Item]
) -> Item:
    """Returns a cached result, or computes it and stores it.

    Args:
        name: beginning of the file name, for people who look into the folder.
        key: everything that the result depends on, except for the code: equal bytes mean an equal result.
        compute: computes the result.
        write: converts the result to the parts of a file, which are not joined in memory.
        read: converts the content of the file to the result.
    """
    digest = hashlib.sha256(source_digest() + key).hexdigest()[:32]
    path = Path(FOLDER).expanduser() / f"{name}-{digest}"
    with contextlib.suppress(OSError):
        with path.open("rb") as file:
            digest_of_content, content = file.read(32), file.read()
        if hashlib.sha256(content).digest() == digest_of_content:
            os.utime(path)
            return read(content)
    item = compute()
    with contextlib.suppress(OSError):
        _write(path, write(item))
    return item


@functools.cache
def source_digest() -> bytes:
    """Returns a hash of the source code of all files of `rmjax.data`, so that none can be forgotten."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


def _write(path: Path, parts: Parts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A unique name, since several runs may write at the same time; the last one replaces the others.
    handle, partial = tempfile.mkstemp(dir=path.parent)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    with os.fdopen(handle, "wb") as file:
        file.writelines([digest.digest(), *parts])
    os.replace(partial, path)
    newest_first = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
    total = 0
    for each in newest_first:
        total += each.stat().st_size
        if total > LIMIT and each != path:
            each.unlink()
