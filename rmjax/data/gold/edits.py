"""Minimal edits: a right answer and the same sentence with another value, to measure if a language model reads.

A language model that knows only how answers sound prefers the right answer in half of the cases.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from rmjax.data.comparisons import Prompt
from rmjax.data.gold import lookups
from rmjax.data.gold.corpus import in_share
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.requests import LOOKUP_SUBSETS, Request, draw_request
from rmjax.data.gold.responses import fill, stated_values, wrong_value

HELD_OUT = ("demonstrations", "test")
SUBSETS = tuple(name for name in LOOKUP_SUBSETS if name != "facts_1")


class Edit(NamedTuple):
    """A prompt, its right answer, and the answer with one other value (for a comparison, the other item)."""

    subset: str
    prompt: Prompt
    right: str
    edited: str


@functools.cache
def minimal_edits(count: int = 100) -> tuple[Edit, ...]:
    """Returns `count` edits for each subset of lookups, on prompts that no training data have."""
    edits: list[Edit] = []
    for subset in SUBSETS:
        rng = PortableRandom(f"gold/edits:{subset}")
        drawn: dict[Prompt, Edit] = {}
        while len(drawn) < count:
            request = draw_request(rng, subset)
            # A prompt with a single value has no other.
            if in_share(request.prompt, HELD_OUT) and (
                request.reading.kind == "choice" or len(stated_values(request)) > 1
            ):
                drawn[request.prompt] = _edit(rng, request)
        edits += drawn.values()
    return tuple(edits)


def _edit(rng: PortableRandom, request: Request) -> Edit:
    reading, family = request.reading, lookups.LOOKUPS[request.reading.family]
    if reading.kind == "choice":
        template = rng.common(family.chosen)
        right, edited = (fill(template, request, [item]) for item in reading.asked)
    else:
        template = rng.common(family.answers if len(reading.asked) == 1 else family.sums)
        values = (reading.right, wrong_value(rng, request, elsewhere=0.0))
        right, edited = (fill(template, request, reading.asked, value) for value in values)
    return Edit(request.subset, request.prompt, right, edited)
