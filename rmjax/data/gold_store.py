"""The embedded corpus as drawn before: reading it takes a fraction of the time that drawing it takes.

A split is drawn once and kept in `~/.cache/rmjax/gold-DIGEST/`, where DIGEST is of the code that draws it, so another
version of the corpus has another folder. What cannot be kept, or read back, is drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rmjax.data import gold
from rmjax.data.comparisons import Comparison, Demonstration, Message

FOLDER = "~/.cache/rmjax"
CODE = ("comparisons", "gold", "gold_draws", "gold_reward", "gold_store", "gold_texts")  # what the corpus depends on

Item = TypeVar("Item", Comparison, Demonstration)


def comparisons(name: str, split: str) -> list[Comparison]:
    """All of a split, as `gold.comparisons(name, split)` gives it."""
    return _kept(gold.comparisons, Comparison, name, split)


def demonstrations(name: str, split: str) -> list[Demonstration]:
    """All of a split, as `gold.demonstrations(name, split)` gives it."""
    return _kept(gold.demonstrations, Demonstration, name, split)


def _kept(draw: Callable[[str, str], list[Item]], kind: type[Item], name: str, split: str) -> list[Item]:
    path = Path(FOLDER).expanduser() / f"gold-{_digest()}" / f"{draw.__name__}-{name}-{split}.json.gz"
    # A file cut short ends in EOFError, one that was written over in BadGzipFile (an OSError) or ValueError.
    with contextlib.suppress(OSError, EOFError, ValueError, TypeError):
        return [_item(kind, row) for row in json.loads(gzip.decompress(path.read_bytes()))]
    items = draw(name, split)
    with contextlib.suppress(OSError):  # a home that cannot be written costs time and nothing else
        _write(path, items)
    return items


def _write(path: Path, items: Sequence[Any]) -> None:
    names = [field.name for field in dataclasses.fields(items[0])]
    rows = [[getattr(item, name) for name in names] for item in items]
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, since runs that start together write at the same time; whichever comes last stays.
    handle, partial = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(gzip.compress(json.dumps(rows, separators=(",", ":")).encode(), 1))
    os.replace(partial, path)


def _item(kind: type[Item], row: list[Any]) -> Item:
    prompt, *rest = row
    return kind(tuple(Message(*turn) for turn in prompt), *(tuple(v) if isinstance(v, list) else v for v in rest))


@functools.cache
def _digest() -> str:
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / f"{name}.py").read_bytes() for name in CODE)).hexdigest()[:12]
