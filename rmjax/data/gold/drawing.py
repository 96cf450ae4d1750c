"""Drawing requests and responses of the embedded corpus.

A response is drawn for an intent, the class that the gold reward should find it in. Wrong answers come from the same
templates and the same items and values as right ones, so that only reading the prompt tells them apart: a wrong value,
or a wrong item, is one that the prompt does not state. A small model learns to see that in little time, where telling
apart two facts that are both stated takes it much longer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from rmjax.data.comparisons import Message, Prompt
from rmjax.data.gold import texts
from rmjax.data.gold.reward import Reading, Verdict

T = TypeVar("T")


class Draws(random.Random):
    """Random choices built on `random()` alone, whose sequence for a seed is the same in every Python version."""

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def weighted(self, weights: Mapping[T, float]) -> T:
        left = self.random() * sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        return choice

    def distinct(self, choices: Sequence[T], count: int) -> list[T]:
        left = list(choices)
        return [left.pop(int(self.random() * len(left))) for _ in range(count)]


class Request(NamedTuple):
    """A drawn prompt and what its author knows about it.

    Attributes:
        subset: the family of lookups, `conversation` for facts given in an earlier turn, `unsafe`, `lookalike` or
            `small_talk`.
        prompt: the conversation.
        reading: what the gold reward should read in it.
        names: item or value of a lookup's family, in lower case -> as written.
        word: the `{w}` of a lookup.
    """

    subset: str
    prompt: Prompt
    reading: Reading
    names: dict[str, str]
    word: str


def draw_request(draws: Draws, subset: str) -> Request:
    """A request of the given subset."""
    if subset == "small_talk":
        return _small_talk(draws)
    if subset in ("unsafe", "lookalike"):
        return _task(draws, subset)
    return _lookup(draws, subset)


def _lookup(draws: Draws, subset: str) -> Request:
    name = draws.pick(tuple(texts.LOOKUPS)) if subset == "conversation" else subset
    family = texts.LOOKUPS[name]
    count = 1 + draws.chance(0.4)
    items, values = draws.distinct(family.items, count), draws.distinct(family.values, count)
    word, asked = draws.pick(family.words), draws.pick(items)
    first, further = draws.pick(family.facts)
    clauses = [
        (further if place else first).format(i=item, v=value, w=word)
        for place, (item, value) in enumerate(zip(items, values, strict=True))
    ]
    stated = f"{' and '.join(clauses)}."
    question = draws.pick(family.questions).format(i=asked, w=word)
    remark = f"{draws.pick(texts.REMARKS)} " if draws.chance(0.15) else ""
    if subset == "conversation":
        prompt = (
            Message("user", remark + stated),
            Message("assistant", draws.pick(texts.ACKNOWLEDGEMENTS)),
            Message("user", question),
        )
    else:
        prompt = (Message("user", f"{remark}{stated} {question}"),)
    facts = tuple((item.lower(), value.lower()) for item, value in zip(items, values, strict=True))
    names = {name.lower(): name for name in (*family.items, *family.values)}
    return Request(subset, prompt, Reading("lookup", name, asked.lower(), facts), names, word)


def _task(draws: Draws, subset: str) -> Request:
    unsafe = subset == "unsafe"
    if draws.chance(0.7):
        verb = draws.pick(tuple(texts.OWNED_TASKS))
        noun = draws.pick(texts.OWNED_TASKS[verb])
        task = f"{verb} {draws.pick(texts.OWNERS[unsafe])} {noun}"
    else:
        task, noun = draws.pick(texts.OTHER_TASKS[unsafe])
    remarks = draws.distinct(texts.REMARKS, 1 + draws.chance(0.3))
    question = draws.pick(texts.TASK_QUESTIONS).format(task=task)
    prompt = (Message("user", " ".join([*remarks, question])),)
    return Request(subset, prompt, Reading("task", asked=noun, unsafe=unsafe), {}, "")


def _small_talk(draws: Draws) -> Request:
    hello = draws.pick(texts.GREETINGS if draws.chance(0.7) else texts.OTHER_GREETINGS)
    remarks = draws.distinct(texts.REMARKS, 1 + draws.chance(0.5))
    prompt = (Message("user", " ".join([hello, *remarks, draws.pick(texts.HOW_ARE_YOU)])),)
    greeting = hello.strip("!").lower() if hello in texts.GREETINGS else ""
    return Request("small_talk", prompt, Reading("small_talk", greeting=greeting), {}, "")


def draw_response(draws: Draws, request: Request, intent: Verdict, style: str = "plain") -> str:
    """A response of class `intent`, in a style: `plain`, `courteous`, `curt` (where possible) or `rambling`."""
    text = _response(draws, request, intent, style)
    if style == "rambling":
        return f"{text} {draws.pick(texts.RAMBLES)}"
    if style == "courteous" and intent in ("right", "wrong_value", "wrong_item"):
        if request.reading.kind == "small_talk":
            return text
        if draws.chance(0.5):
            return f"{draws.pick(texts.COURTESY_BEFORE)} {text}"
        return f"{text} {draws.pick(texts.COURTESY_AFTER)}"
    return text


def _response(draws: Draws, request: Request, intent: Verdict, style: str) -> str:
    reading = request.reading
    if reading.kind == "small_talk":
        return _small_talk_response(draws, reading, intent)
    if intent in ("refusal", "vague"):
        text = draws.pick(texts.REFUSALS if intent == "refusal" else texts.VAGUE).format(m=_mention(request))
        return f"{text} {draws.pick(texts.ALTERNATIVES)}" if intent == "refusal" and draws.chance(0.4) else text
    if reading.kind == "task":
        return _task_response(draws, reading, intent)
    return _lookup_response(draws, request, intent, style)


def _mention(request: Request) -> str:
    reading = request.reading
    if reading.kind == "task":
        return f"the {reading.asked}"
    return texts.LOOKUPS[reading.family].mention.format(i=request.names[reading.asked], w=request.word)


def _lookup_response(draws: Draws, request: Request, intent: Verdict, style: str) -> str:
    reading = request.reading
    family = texts.LOOKUPS[reading.family]
    facts = dict(reading.facts)
    item, value = reading.asked, facts[reading.asked]
    if intent == "wrong_value":
        value = draws.pick([other for other in family.values if other not in facts.values()])
    elif intent == "wrong_item":
        item = draws.pick([other.lower() for other in family.items if other.lower() not in facts])
    templates = family.curt if style == "curt" and intent != "wrong_item" else family.answers
    return draws.pick(templates).format(i=request.names[item], v=request.names[value], w=request.word)


def _task_response(draws: Draws, reading: Reading, intent: Verdict) -> str:
    noun = reading.asked
    while intent == "wrong_item" and noun == reading.asked:
        noun = draws.pick(texts.TASK_NOUNS)
    text = draws.pick(texts.COMPLIANCE).format(i=noun, a=draws.pick(texts.STEPS))
    return f"{text} {texts.CAUTION}" if draws.chance(0.3) else text


def _small_talk_response(draws: Draws, reading: Reading, intent: Verdict) -> str:
    if intent in ("refusal", "vague"):
        if intent == "vague" and draws.chance(0.7):
            return draws.pick(texts.CURT)
        return draws.pick(texts.REFUSALS if intent == "refusal" else texts.VAGUE).format(m="that")
    text = draws.pick(texts.WARM if intent == "right" else texts.PLAIN)
    hello = draws.weighted({reading.greeting: 0.5, "other": 0.3, "": 0.2})
    if hello == "other":
        return (
            f"{draws.pick([other for other in texts.GREETINGS if other.strip('!').lower() != reading.greeting])} {text}"
        )
    return f"{hello.capitalize()}! {text}" if hello else text
