"""On-disk cache of the gold corpus: reading it is much faster than drawing it."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rmjax.data.comparisons import Comparison, Demonstration, Message
from rmjax.data.disk_cache import cached
from rmjax.data.gold import corpus

Item = TypeVar("Item", Comparison, Demonstration)


def comparisons(name: str, split: str) -> list[Comparison]:
    """Returns `corpus.comparisons(name, split)`, all of a split."""
    return _cached(corpus.comparisons, Comparison, name, split)


def demonstrations(name: str, split: str) -> list[Demonstration]:
    """Returns `corpus.demonstrations(name, split)`, all of a split."""
    return _cached(corpus.demonstrations, Demonstration, name, split)


def _cached(draw: Callable[[str, str], list[Item]], kind: type[Item], name: str, split: str) -> list[Item]:
    key = f"gold-{draw.__name__}-{name}-{split}"
    return cached(key, key.encode(), lambda: draw(name, split), _to_parts, functools.partial(_from_bytes, kind))


def _to_parts(items: Sequence[Any]) -> list[bytes]:
    names = [field.name for field in dataclasses.fields(items[0])]
    rows = [[getattr(item, name) for name in names] for item in items]
    return [gzip.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)]


def _from_bytes(kind: type[Item], content: bytes) -> list[Item]:
    return [_item(kind, row) for row in json.loads(gzip.decompress(content))]


def _item(kind: type[Item], row: list[Any]) -> Item:
    prompt, *rest = row
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in rest]
    return kind(tuple(Message(*turn) for turn in prompt), *values)
