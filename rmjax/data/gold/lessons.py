"""Texts for the pretraining of a small language model that reads its prompts (work in progress).

A small transformer that sees only demonstrations learns how answers sound. It learns to look facts up in steps, each of
which needs the one before. Width 96, 4 layers, 6 heads of 16 channels, MLP 256, embeddings multiplied by sqrt(width),
one BPE of 1,280 ids for all steps, AdamW, batches of 32, one epoch of 50,000 texts each, response tokens only:

1. `recall`, rate 3e-3: "There is Oslo 7, lamp red." -> the same pairs in another order.
2. `linked`, a third of them `recall`, 3e-3: one word between the two ("Oslo at 7").
3. `gaps` and `restated`, half each, 3e-3: no to three words in between, and sentences that restate all facts.
4. `answered` and `restated`, half each, 1.5e-3: questions of all skills and their right answers.

All kinds at once stay at chance. Measured, one seed, 25 minutes on one core that other programs used too: minimal edits
after step 4 are right in 90 % of the prompts with two facts, 98, 96 and 93 % with 3-4, 5-8 and 9-12, earlier turns 98,
corrections 92, denials 99, sums 67, two hops 40, comparisons 49 (100 edits each).

Reward models from step 4, without demonstrations of the corpus, batches of 16, one epoch, last token, one seed each
(ceiling 84.4; from random weights 58.9 % after 16,000):

    comparisons  rate  accuracy  facts_1  facts_2  facts_9_12  correction  two_hops  sum  comparison  unsafe, lookalike
          4,000  8e-4      68.7       78       67          66          72        61   59          52                 59
         16,000  8e-4      77.4       82       81          78          80        60   54          55                 56
         32,000  8e-4      72.6       84       69          69          80        65   62          54                 57
         32,000  3e-4      78.6       81       83          82          79        56   59          56                 55

At 8e-4 a run may keep a shortcut: it checks that the value is in the prompt, and not that it belongs to the item (the
third row). At 3e-4 accuracy rises smoothly to the end. From step 3: 72.9 % after 16,000 (8e-4). The mean over tokens is
worse (73.5 % from step 4). Three further layers that begin as identities hardly help (73.6 % from step 3).
`start/` has the parameters of step 4 with their tokenizer and contract.

Next: demonstrations of the corpus before the reward model (tasks and unsafe requests are not in the lessons), 3e-4 with
three seeds and 4,000 to 32,000 comparisons, and the same steps for the other sizes of the ladder.
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
