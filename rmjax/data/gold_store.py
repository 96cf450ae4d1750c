"""The embedded corpus as drawn before: reading it takes a fraction of the time that drawing it takes."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rmjax.data import gold
from rmjax.data.comparisons import Comparison, Demonstration, Message
from rmjax.data.kept import code, kept

CODE = ("comparisons", "gold", "gold_draws", "gold_reward", "gold_store", "gold_texts")  # what the corpus depends on

Item = TypeVar("Item", Comparison, Demonstration)


def comparisons(name: str, split: str) -> list[Comparison]:
    """All of a split, as `gold.comparisons(name, split)` gives it."""
    return _kept(gold.comparisons, Comparison, name, split)


def demonstrations(name: str, split: str) -> list[Demonstration]:
    """All of a split, as `gold.demonstrations(name, split)` gives it."""
    return _kept(gold.demonstrations, Demonstration, name, split)


def _kept(draw: Callable[[str, str], list[Item]], kind: type[Item], name: str, split: str) -> list[Item]:
    what = f"gold-{draw.__name__}-{name}-{split}"
    return kept(what, code(*CODE) + what.encode(), lambda: draw(name, split), _written, functools.partial(_read, kind))


def _written(items: Sequence[Any]) -> bytes:
    names = [field.name for field in dataclasses.fields(items[0])]
    rows = [[getattr(item, name) for name in names] for item in items]
    return gzip.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)


def _read(kind: type[Item], content: bytes) -> list[Item]:
    return [_item(kind, row) for row in json.loads(gzip.decompress(content))]


def _item(kind: type[Item], row: list[Any]) -> Item:
    prompt, *rest = row
    return kind(tuple(Message(*turn) for turn in prompt), *(tuple(v) if isinstance(v, list) else v for v in rest))
