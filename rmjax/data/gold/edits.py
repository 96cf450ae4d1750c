"""Minimal edits: a right answer, and the same sentence with the value of another fact of the prompt.

A language model that copies a fact of the prompt, without the item that it belongs to, prefers the right answer in half
of the cases. One that finds the fact that is asked for prefers it nearly always.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from rmjax.data.comparisons import Prompt
from rmjax.data.gold import texts
from rmjax.data.gold.corpus import in_share
from rmjax.data.gold.drawing import PortableRandom, draw_request

HELD_OUT = ("demonstrations", "test")
SUBSETS = (*texts.LOOKUPS, "conversation")


class Edit(NamedTuple):
    """A prompt that states two facts, the right answer, and the answer with the value of the other fact."""

    subset: str
    prompt: Prompt
    right: str
    edited: str


@functools.cache
def minimal_edits(count: int = 100) -> tuple[Edit, ...]:
    """Returns `count` edits for each subset of lookups, on prompts that no training data have."""
    edits: list[Edit] = []
    for subset in SUBSETS:
        rng, drawn = PortableRandom(f"gold/edits:{subset}"), dict[Prompt, Edit]()
        while len(drawn) < count:
            request = draw_request(rng, subset)
            if len(request.reading.facts) == 2 and in_share(request.prompt, HELD_OUT):
                family, asked = texts.LOOKUPS[request.reading.family], request.reading.asked
                (right,) = (value for item, value in request.reading.facts if item == asked)
                (other,) = (value for item, value in request.reading.facts if item != asked)
                template, item = rng.pick(family.answers), request.names[asked]
                answers = (template.format(i=item, v=request.names[v], w=request.word) for v in (right, other))
                drawn[request.prompt] = Edit(subset, request.prompt, *answers)
        edits += drawn.values()
    return tuple(edits)
