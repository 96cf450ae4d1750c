"""Statements of the gold corpus: facts of one family, the clauses that state them, and questions about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rmjax.data.gold import lookups
from rmjax.data.gold.portable_random import PortableRandom


class Stated(NamedTuple):
    """Facts of one family and the clauses that state them."""

    name: str
    family: lookups.Family
    items: list[str]
    values: list[str]
    word: str
    clauses: list[str]


def state(rng: PortableRandom, count: int, families: Sequence[str] = ()) -> Stated:
    """Returns `count` facts of one family; rare items and phrasings are rare."""
    name = rng.pick(families or [name for name in lookups.LOOKUPS if name != "journey"])
    family = lookups.LOOKUPS[name]
    items, values = rng.frequent(family.items, count), rng.distinct(family.values, count)
    items = rng.distinct(items, count)
    word = rng.pick(family.words)
    first, further = rng.common(family.facts)
    clauses = [
        (further if index else first).format(i=item, v=value, w=word)
        for index, (item, value) in enumerate(zip(items, values, strict=True))
    ]
    return Stated(name, family, items, values, word, clauses)


def joined(clauses: Sequence[str]) -> str:
    """Returns the clauses as a sentence."""
    *first, last = clauses
    return f"{', '.join(first)} and {last}." if first else f"{last}."


def question(rng: PortableRandom, facts: Stated, item: str) -> str:
    return rng.common(facts.family.questions).format(i=item, w=facts.word)


def answer(rng: PortableRandom, facts: Stated, item: str) -> str:
    value = dict(zip(facts.items, facts.values, strict=True))[item]
    return rng.common(facts.family.answers).format(i=item, v=value, w=facts.word)


def lower_pairs(facts: Stated) -> tuple[tuple[str, str], ...]:
    return tuple((item.lower(), value.lower()) for item, value in zip(facts.items, facts.values, strict=True))
