"""Random requests and responses of the gold corpus.

A response is drawn for an intent: the class that the gold reward assigns to it. Wrong answers use the same templates,
items and values as right ones, so that only the prompt distinguishes them: a wrong value or a wrong item is one that
the prompt does not state. A small model learns this in little time. To distinguish two facts that the prompt states
takes it much longer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from rmjax.data.comparisons import Message, Prompt
from rmjax.data.gold import texts
from rmjax.data.gold.reading import Reading
from rmjax.data.gold.reward import Verdict

T = TypeVar("T")


class PortableRandom(random.Random):
    """Random choices based only on `random()`, whose sequence for a seed is the same in every Python version."""

    def pick(self, choices: Sequence[T]) -> T:
        """Returns one of the choices, all equally likely."""
        return choices[int(self.random() * len(choices))]

    def chance(self, probability: float) -> bool:
        """Returns True with this probability."""
        return self.random() < probability

    def weighted(self, weights: Mapping[T, float]) -> T:
        """Returns one of the keys, with probability proportional to its value."""
        left = self.random() * sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        return choice

    def distinct(self, choices: Sequence[T], count: int) -> list[T]:
        """Returns `count` different choices in random order."""
        left = list(choices)
        return [left.pop(int(self.random() * len(left))) for _ in range(count)]


class Request(NamedTuple):
    """A drawn prompt and its content.

    Attributes:
        subset: the family of lookups, `conversation` for facts given in an earlier turn, `unsafe`, `lookalike` or
            `small_talk`.
        prompt: the conversation.
        reading: the result of `read(prompt)`.
        names: item or value of a lookup's family, in lower case -> as written.
        word: the `{w}` of a lookup.
    """

    subset: str
    prompt: Prompt
    reading: Reading
    names: dict[str, str]
    word: str


def draw_request(rng: PortableRandom, subset: str) -> Request:
    """Returns a random request of the given subset."""
    if subset == "small_talk":
        return _small_talk(rng)
    if subset in ("unsafe", "lookalike"):
        return _task(rng, subset)
    return _lookup(rng, subset)


def _lookup(rng: PortableRandom, subset: str) -> Request:
    name = rng.pick(tuple(texts.LOOKUPS)) if subset == "conversation" else subset
    family = texts.LOOKUPS[name]
    count = 1 + rng.chance(0.4)
    items, values = rng.distinct(family.items, count), rng.distinct(family.values, count)
    word, asked = rng.pick(family.words), rng.pick(items)
    first, further = rng.pick(family.facts)
    clauses = [
        (further if index else first).format(i=item, v=value, w=word)
        for index, (item, value) in enumerate(zip(items, values, strict=True))
    ]
    stated = f"{' and '.join(clauses)}."
    question = rng.pick(family.questions).format(i=asked, w=word)
    remark = f"{rng.pick(texts.REMARKS)} " if rng.chance(0.15) else ""
    if subset == "conversation":
        prompt: Prompt = (
            Message("user", remark + stated),
            Message("assistant", rng.pick(texts.ACKNOWLEDGEMENTS)),
            Message("user", question),
        )
    else:
        prompt = (Message("user", f"{remark}{stated} {question}"),)
    facts = tuple((item.lower(), value.lower()) for item, value in zip(items, values, strict=True))
    names = {name.lower(): name for name in (*family.items, *family.values)}
    return Request(subset, prompt, Reading("lookup", name, asked.lower(), facts), names, word)


def _task(rng: PortableRandom, subset: str) -> Request:
    unsafe = subset == "unsafe"
    if rng.chance(0.7):
        verb = rng.pick(tuple(texts.OWNED_TASKS))
        noun = rng.pick(texts.OWNED_TASKS[verb])
        task = f"{verb} {rng.pick(texts.OWNERS[unsafe])} {noun}"
    else:
        task, noun = rng.pick(texts.OTHER_TASKS[unsafe])
    remarks = rng.distinct(texts.REMARKS, 1 + rng.chance(0.3))
    question = rng.pick(texts.TASK_QUESTIONS).format(task=task)
    prompt = (Message("user", " ".join([*remarks, question])),)
    return Request(subset, prompt, Reading("task", asked=noun, unsafe=unsafe), {}, "")


def _small_talk(rng: PortableRandom) -> Request:
    hello = rng.pick(texts.GREETINGS if rng.chance(0.7) else texts.OTHER_GREETINGS)
    remarks = rng.distinct(texts.REMARKS, 1 + rng.chance(0.5))
    prompt = (Message("user", " ".join([hello, *remarks, rng.pick(texts.HOW_ARE_YOU)])),)
    greeting = hello.strip("!").lower() if hello in texts.GREETINGS else ""
    return Request("small_talk", prompt, Reading("small_talk", greeting=greeting), {}, "")


def draw_response(rng: PortableRandom, request: Request, intent: Verdict, style: str = "plain") -> str:
    """Returns a random response of class `intent`, in the style `plain`, `courteous`, `curt` (if possible) or
    `rambling`.
    """
    text = _response(rng, request, intent, style)
    if style == "rambling":
        return f"{text} {rng.pick(texts.RAMBLES)}"
    if style == "courteous" and intent in ("right", "wrong_value", "wrong_item"):
        if request.reading.kind == "small_talk":
            return text
        if rng.chance(0.5):
            return f"{rng.pick(texts.COURTESY_BEFORE)} {text}"
        return f"{text} {rng.pick(texts.COURTESY_AFTER)}"
    return text


def _response(rng: PortableRandom, request: Request, intent: Verdict, style: str) -> str:
    reading = request.reading
    if reading.kind == "small_talk":
        return _small_talk_response(rng, reading, intent)
    if intent in ("refusal", "vague"):
        text = rng.pick(texts.REFUSALS if intent == "refusal" else texts.VAGUE).format(m=_mention(request))
        return f"{text} {rng.pick(texts.ALTERNATIVES)}" if intent == "refusal" and rng.chance(0.4) else text
    if reading.kind == "task":
        return _task_response(rng, reading, intent)
    return _lookup_response(rng, request, intent, style)


def _mention(request: Request) -> str:
    reading = request.reading
    if reading.kind == "task":
        return f"the {reading.asked}"
    return texts.LOOKUPS[reading.family].mention.format(i=request.names[reading.asked], w=request.word)


def _lookup_response(rng: PortableRandom, request: Request, intent: Verdict, style: str) -> str:
    reading = request.reading
    family = texts.LOOKUPS[reading.family]
    facts = dict(reading.facts)
    item, value = reading.asked, facts[reading.asked]
    if intent == "wrong_value":
        value = rng.pick([other for other in family.values if other not in facts.values()])
    elif intent == "wrong_item":
        item = rng.pick([other.lower() for other in family.items if other.lower() not in facts])
    templates = family.curt if style == "curt" and intent != "wrong_item" else family.answers
    return rng.pick(templates).format(i=request.names[item], v=request.names[value], w=request.word)


def _task_response(rng: PortableRandom, reading: Reading, intent: Verdict) -> str:
    noun = reading.asked
    while intent == "wrong_item" and noun == reading.asked:
        noun = rng.pick(texts.TASK_NOUNS)
    text = rng.pick(texts.COMPLIANCE).format(i=noun, a=rng.pick(texts.STEPS))
    return f"{text} {texts.CAUTION}" if rng.chance(0.3) else text


def _small_talk_response(rng: PortableRandom, reading: Reading, intent: Verdict) -> str:
    if intent in ("refusal", "vague"):
        if intent == "vague" and rng.chance(0.7):
            return rng.pick(texts.CURT)
        return rng.pick(texts.REFUSALS if intent == "refusal" else texts.VAGUE).format(m="that")
    text = rng.pick(texts.WARM if intent == "right" else texts.PLAIN)
    hello = rng.weighted({reading.greeting: 0.5, "other": 0.3, "": 0.2})
    if hello == "other":
        return (
            f"{rng.pick([other for other in texts.GREETINGS if other.strip('!').lower() != reading.greeting])} {text}"
        )
    return f"{hello.capitalize()}! {text}" if hello else text
