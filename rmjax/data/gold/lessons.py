"""Texts for the pretraining of the embedded language models: a curriculum that teaches to read facts.

A small transformer that sees only demonstrations learns how answers sound, not which fact they state. It learns to look
a fact up in steps, each of which needs the one before:

1. `recall` repeats pairs of words in another order ("Oslo 7, lamp red"). This forms induction heads (Olsson et al.,
   2209.11895). Lists with few different words form them soon, lists with many make them general.
2. `linked` has a word between the two.
3. `restated` has any number of words between them, and sentences of the corpus that restate facts.
4. `answered` has questions of all skills, and questions whether an answer is right.

The heads read the stated words. So most of the training signal is in lessons 1 to 3, where every second word is a fact.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator

from rmjax.data.comparisons import Demonstration, Message, Prompt
from rmjax.data.gold import texts
from rmjax.data.gold.drawing import LOOKUP_SKILLS, PortableRandom, Request, draw_response
from rmjax.data.gold.statements import answer, joined, state

# Lesson -> number of texts, in the order in which they are learned.
LESSONS = {"recall": 50_000, "linked": 50_000, "restated": 50_000, "answered": 140_000}

_LINKS = ("at", "for", "in", "is", "has", "with", "to", "on", "by", "gets")
_FILLERS = (*_LINKS, "the", "a")
# Words that the corpus does not have, so that the heads do not depend on its words.
_OTHERS = (
    "stone river cloud paper window garden bridge pencil mountain castle forest tiger rabbit needle feather anchor barrel "
    "copper silver velvet marble ginger pepper butter honey violin trumpet piano"
).split()
_WORDS = tuple(
    dict.fromkeys(
        [*itertools.chain.from_iterable((*family.items, *family.values) for family in texts.LOOKUPS.values()), *_OTHERS]
    )
)

Text = tuple[Prompt, str]
