"""Lessons: texts and comparisons for the pretraining of the embedded language models.

A small transformer that sees only demonstrations learns how answers sound. It learns to look facts up in steps, each of
which needs the one before: lists of pairs, words between the two, sentences, and at last questions. All kinds at once
stay at chance.

A language model that reads need not be able to judge: it has never seen a wrong answer. Reward models from such a start
find out how to check a value at a random moment, or not at all. So the last stage trains a reward model on right and
wrong answers without noise in their labels, and the language model with it: preference model pretraining (Askell et
al., 2112.00861, section 4). Texts that say "Right." or "Wrong." after an answer did not have this effect. A stage of
judgements alone, and a stage of answers after it, had less: what restores the answers destroys the judgements.

The stages are in `STAGES`; `rmjax.stages.pretraining` trains them. How to judge the tone is not part of
them: vague answers, rambling ones and refusals are only in the comparisons of the corpus.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from rmjax.data.comparisons import Comparison, Demonstration, Message
from rmjax.data.gold import lookups
from rmjax.data.gold.corpus import in_share
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.requests import LOOKUP_SUBSETS, TASK_SUBSETS, draw_request
from rmjax.data.gold.responses import draw_response
from rmjax.data.gold.reward import Verdict
from rmjax.data.gold.statements import answer, joined, state

Lesson = TypeVar("Lesson", Comparison, Demonstration)

_LINKS = ("at", "for", "in", "is", "has", "with", "to", "on", "by", "gets")
_FILLERS = (*_LINKS, "the", "a")
_OTHERS = ("stone", "river", "cloud", "paper", "window", "garden", "bridge", "pencil", "mountain", "castle", "forest")
_WORDS = tuple(
    dict.fromkeys(
        [
            *itertools.chain.from_iterable((*family.items, *family.values) for family in lookups.LOOKUPS.values()),
            *_OTHERS,
        ]
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


def judged(rng: PortableRandom) -> Comparison:
    """A request of the corpus, its right answer, and two or three wrong ones, which are tied."""
    request = draw_request(rng, rng.pick((*LOOKUP_SUBSETS, *TASK_SUBSETS)))
    wrong: tuple[Verdict, ...] = ("wrong_item",) if request.subset in TASK_SUBSETS else ("wrong_value", "wrong_item")
    responses = [draw_response(rng, request, "right")]
    count = rng.number(3, 4)
    while len(responses) < count:
        response = draw_response(rng, request, rng.pick(wrong))
        if response not in responses:
            responses.append(response)
    order = rng.distinct(range(count), count)
    return Comparison(
        prompt=request.prompt,
        responses=tuple(responses[k] for k in order),
        ranks=tuple(1 if k == 0 else 2 for k in order),
        subset=request.subset,
        origin="lessons/judged",
    )


LESSONS: dict[str, Callable[[PortableRandom], Demonstration]] = {
    each.__name__: each for each in (recall, linked, gaps, restated, answered)
}


class Stage(NamedTuple):
    """One stage of pretraining.

    Attributes:
        shares: lesson -> its share of the texts.
        texts: number of texts (of `judged`: comparisons).
        learning_rate: peak learning rate of the small model.
        batch: texts in a step.
    """

    shares: dict[str, float]
    texts: int
    learning_rate: float
    batch: int = 32


STAGES = {
    "recall": Stage({"recall": 1.0}, 150_000, 3e-3),
    "linked": Stage({"linked": 0.67, "recall": 0.33}, 100_000, 3e-3),
    "restated": Stage({"gaps": 0.5, "restated": 0.5}, 100_000, 3e-3),
    "answered": Stage({"answered": 0.5, "restated": 0.5}, 150_000, 1.5e-3),
    "judged": Stage({"judged": 1.0}, 120_000, 1e-3, batch=8),
}
*READING, JUDGED = STAGES
LM_COEF = 0.3  # weight of the next-token loss of the right answers in the stage `judged`, per nat of an answer


def lessons(stage: str, count: int = 0) -> list[Demonstration]:
    """Returns the first `count` texts of a stage, a key of `STAGES`; 0: all. They are the same in every process.

    No prompt is in another part of the corpus.
    """
    return _take(stage, lambda rng: LESSONS[rng.weighted(STAGES[stage].shares)](rng), count)


def judgements(count: int = 0) -> list[Comparison]:
    """Returns the first `count` comparisons of the stage `judged`; 0: all. See `lessons`."""
    return _take(JUDGED, judged, count)


def _take(stage: str, draw: Callable[[PortableRandom], Lesson], count: int) -> list[Lesson]:
    rng = PortableRandom(f"gold/lessons:{stage}")
    drawn: list[Lesson] = []
    while len(drawn) < (count or STAGES[stage].texts):
        lesson = draw(rng)
        if in_share(lesson.prompt, ("lessons", "train")):
            drawn.append(lesson)
    return drawn
