"""Lessons: texts for the pretraining of the embedded language models.

A small transformer that sees only demonstrations learns how answers sound. It learns to look facts up in steps, each of
which needs the one before: lists of pairs, words between the two, sentences, and at last questions. All kinds at once
stay at chance. The stages are in `STAGES`; `rmjax.stages.pretraining` trains them.

State of the work (not finished). Minimal edits that are right after the last stage, and reward models from it with SFT
on 6,000 demonstrations (3e-4, one epoch), one epoch, seed 0 each; ceiling 84.3 %:

    language model                                  edits  facts 2, 3-4, 5-8, 9-12  comparisons  batch  rate  accuracy
    first: 4 stages of 50,000, older script          82.2  90 98 96 93                  16,000      8  6e-4      78.5
                                                                                        16,000      8  1e-3      77.4
                                                                                        16,000      4  4e-4      78.9
                                                                                        32,000      8  6e-4      78.9
                                                                                        32,000      4  4e-4      80.7
    first + `helped` (start/small)                   86.3  91 99 99 92                  32,000      8  6e-4      79.1
                                                                                        32,000      4  4e-4      80.6
    this script, 50,000 texts a stage                68.9  68 59 54 68                         not run
    this script, `STAGES`, small                     83.4  85 87 94 89                  32,000      8  6e-4      77.3
    this script, `STAGES`, tiny (start/tiny)         83.2  91 91 92 86                  32,000      8  8.5e-4    56.8

On two idle cores from an empty home directory, start/small, batch 4 and 4e-4 on 32,000: 80.6 %, 89.3 % of the ceiling's
gain, in 3 min 27 s with everything. Facts 82 to 84, earlier turns 80, corrections 81, denials 86; two hops, comparisons,
sums and tasks 52 to 62. Two epochs end at 80.5 %: facts are at their ceiling of 84, so steps are not what is missing. The
rest is lost on tasks (3 % of the comparisons, ceiling 89 %), two hops, sums and comparisons: more of the tasks in the
mixture, or fewer of the skills that the start has not.

So the first small model is not what the script makes today: the same stages end at 68.9 % (another seed and other texts).
start/small is that model after the stage `helped`, and start/origin.json states the digests of today's lessons, not of
those that made its first four stages.

The reward model spends most steps until it checks that a value belongs to its item. What did not help: texts with
verdicts after each sentence ("... Right." or "Wrong."), 50 % in five passes over 25,000 texts, and 71.2 instead of 76.8
% from it (16,000, batch 16, 8e-4); pairs of words with verdicts, 51.5 %; "Is that right?" "Yes." or "No.", batches of
8, 66 %, which is what unstated values and items give, and it destroys reading (62.8 % of the edits).

Next: several seeds of each stage with the best one kept (state how it was chosen), or stages that go on until the
validation accuracy stands still; more steps of the reward model in the same time (batch 4 on two devices).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rmjax.data.comparisons import Demonstration, Message
from rmjax.data.gold import texts
from rmjax.data.gold.corpus import in_share
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.requests import LOOKUP_SUBSETS, TASK_SUBSETS, draw_request
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


def helped(rng: PortableRandom) -> Demonstration:
    """A task of the corpus and help with it, or a refusal, whatever the task: what is right is not pretraining."""
    request = draw_request(rng, rng.pick(TASK_SUBSETS))
    return Demonstration(request.prompt, draw_response(rng, request, rng.pick(("right", "refusal"))), "")


LESSONS: dict[str, Callable[[PortableRandom], Demonstration]] = {
    each.__name__: each for each in (recall, linked, gaps, restated, answered, helped)
}


class Stage(NamedTuple):
    """One stage of pretraining: shares of its lessons, number of texts, peak learning rate of the small model."""

    shares: dict[str, float]
    texts: int
    learning_rate: float


STAGES = {
    "recall": Stage({"recall": 1.0}, 150_000, 3e-3),
    "linked": Stage({"linked": 0.67, "recall": 0.33}, 100_000, 3e-3),
    "restated": Stage({"gaps": 0.5, "restated": 0.5}, 100_000, 3e-3),
    "answered": Stage({"answered": 0.5, "restated": 0.5}, 100_000, 1.5e-3),
    "helped": Stage({"answered": 0.7, "helped": 0.15, "restated": 0.15}, 50_000, 1e-3),
}


def lessons(stage: str, count: int = 0) -> list[Demonstration]:
    """Returns the first `count` texts of a stage, a key of `STAGES`; 0: all. They are the same in every process.

    No prompt is in another part of the corpus.
    """
    count = count or STAGES[stage].texts
    rng = PortableRandom(f"gold/lessons:{stage}")
    drawn: list[Demonstration] = []
    while len(drawn) < count:
        lesson = LESSONS[rng.weighted(STAGES[stage].shares)](rng)
        if in_share(lesson.prompt, ("lessons", "train")):
            drawn.append(lesson)
    return drawn
