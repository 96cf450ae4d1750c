"""Texts for the pretraining of a small language model that reads its prompts (work in progress).

A small transformer that sees only demonstrations learns how answers sound. It learns to look facts up in steps, each of
which needs the one before. Measured with width 96, 4 layers, 6 heads of 16 channels, embeddings multiplied by
sqrt(width), AdamW at 3e-3, batches of 32, one epoch each, response tokens only (one seed):

1. `recall`, 50,000 texts: "There is Oslo 7, lamp red." -> the same pairs in another order. Heads that copy the next word
   form after 16,000 texts (with 3 layers and 3 heads of 32 channels after 32,000).
2. `linked`, a third of them `recall`, 50,000: one word between the two ("Oslo at 7"). 100 % right; sentences with one word
   in between are 84 % right without training on them. A mix of all kinds from the beginning stays at chance.
3. `gaps` and `restated`, half each, 50,000: no to three words in between, and sentences that restate all facts. After it
   minimal edits of questions, which no lesson had yet, are 88 to 95 % right for one to twelve facts.
4. `answered`, with `restated`, 70,000: questions of all skills; minimal edits 83 to 99 %, corrections 91 %, sums 69 %, two
   hops 46 to 64 %, comparisons not learned.

Judging is the open part. A reward model from step 3 reaches 67.8 % after 32,000 comparisons (from random weights 58 %
after 19,000): it checks that the value is in the prompt, hardly that it belongs to the item. The language model does not
learn to predict "right" or "wrong" after an answer sentence, neither as a later turn nor in the same turn (50 %). It does
learn it directly after a value: `eliminated`, from step 2, 99 %. With the score read as the mean over the response
(head.pooling=mean), a reward model from steps 2, `eliminated`, 3 reaches 69.3 % after 16,000 comparisons (61.7 % from the
last token). Next to try: distinct candidates in `eliminated`; then the item before each candidate; then a full stop before
the verdict; each as its own stage at a lower rate, since 10 % of a mix did not keep what was learned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from rmjax.data.comparisons import Demonstration, Message
from rmjax.data.gold import texts
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.requests import LOOKUP_SUBSETS, draw_request
from rmjax.data.gold.responses import draw_response
from rmjax.data.gold.statements import answer, joined, state

_LINKS = ("at", "for", "in", "is", "has", "with", "to", "on", "by", "gets")
_FILLERS = (*_LINKS, "the", "a")
_OTHERS = ("stone", "river", "cloud", "paper", "window", "garden", "bridge", "pencil", "mountain", "castle", "forest")
_WORDS = tuple(
    dict.fromkeys(
        [*itertools.chain.from_iterable((*family.items, *family.values) for family in texts.LOOKUPS.values()), *_OTHERS]
    )
)


def _pairs(rng: PortableRandom, count: int) -> list[tuple[str, str]]:
    """Returns pairs of different words; 7 times in 10 from a small pool, so that a word often is a value again."""
    fewest = 2 * count
    size = (
        math.exp(math.log(fewest) + rng.random() * math.log(len(_WORDS) / fewest)) if rng.chance(0.7) else len(_WORDS)
    )
    words = rng.distinct(rng.distinct(_WORDS, max(fewest, int(size))), fewest)
    return list(zip(words[::2], words[1::2], strict=True))


def _list(pairs: Sequence[tuple[str, str]], between: Sequence[str]) -> str:
    return f"There is {', '.join(' '.join((item, *between, value)) for item, value in pairs)}."


def _listed(rng: PortableRandom, between: Sequence[str]) -> Demonstration:
    pairs = _pairs(rng, rng.number(2, 6))
    prompt = (Message("user", _list(pairs, between)),)
    return Demonstration(prompt, _list(rng.distinct(pairs, len(pairs)), between), "")


def recall(rng: PortableRandom) -> Demonstration:
    """Pairs of words in another order."""
    return _listed(rng, ())


def linked(rng: PortableRandom) -> Demonstration:
    """The same with a word between the two."""
    return _listed(rng, (rng.pick(_LINKS),))


def gaps(rng: PortableRandom) -> Demonstration:
    """The same with up to three words between the two."""
    return _listed(rng, [rng.pick(_FILLERS) for _ in range(rng.number(0, 3))])


def restated(rng: PortableRandom) -> Demonstration:
    """Facts of the corpus, and a sentence for each of them in another order."""
    facts = state(rng, rng.number(2, 6))
    sentences = [answer(rng, facts, item) for item in rng.distinct(facts.items, len(facts.items))]
    return Demonstration((Message("user", joined(facts.clauses)),), " ".join(sentences), "")


def answered(rng: PortableRandom) -> Demonstration:
    """A request of the corpus and its right answer."""
    request = draw_request(rng, rng.pick(LOOKUP_SUBSETS))
    return Demonstration(request.prompt, draw_response(rng, request, "right"), "")


def eliminated(rng: PortableRandom) -> Demonstration:
    """A list and an item, then several values, each with a verdict."""
    pairs = _pairs(rng, rng.number(2, 4))
    item, right = rng.pick(pairs)
    stated = [value for _, value in pairs]
    others = [value for value in stated if value != right] + [rng.pick([word for word in _WORDS if word not in stated])]
    candidates = [rng.pick(others) if rng.chance(0.5) else right for _ in range(rng.number(3, 8))]
    verdicts = " ".join(f"{value} {'right' if value == right else 'wrong'}" for value in candidates)
    between = [rng.pick(_FILLERS) for _ in range(rng.number(0, 1))]
    return Demonstration((Message("user", f"{_list(pairs, between)} {item}?"),), f"{verdicts}.", "")


LESSONS: dict[str, Callable[[PortableRandom], Demonstration]] = {
    each.__name__: each for each in (recall, linked, gaps, restated, answered, eliminated)
}
