"""Random responses of the gold corpus.

A response is drawn for an intent: the class that the gold reward assigns to it. Wrong answers use the same templates,
items and values as right ones, and most of their words are in the prompt, so that only reading distinguishes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rmjax.data.gold import lookups, texts
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.reading import WORD, Reading, plain_text, value_of
from rmjax.data.gold.requests import Request
from rmjax.data.gold.reward import Verdict

ELSEWHERE = 0.1  # share of wrong values and items that the prompt does not state


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
    if reading.kind == "choice":
        return _choice_response(rng, request, intent)
    return _lookup_response(rng, request, intent, style)


def _mention(request: Request) -> str:
    reading = request.reading
    if reading.kind == "task":
        return f"the {reading.asked[0]}"
    return lookups.LOOKUPS[reading.family].mention.format(i=request.names[reading.asked[0]], w=request.word)


def _lookup_response(rng: PortableRandom, request: Request, intent: Verdict, style: str) -> str:
    reading = request.reading
    family = lookups.LOOKUPS[reading.family]
    facts = dict(reading.facts)
    items, value = list(reading.asked), reading.right
    if intent == "wrong_value":
        value = wrong_value(rng, request)
    elif intent == "wrong_item":
        unstated = [other.lower() for other in family.items if other.lower() not in facts]
        others = [other for other in facts if other not in items]
        if len(items) == 1 and others and not rng.chance(ELSEWHERE):
            items = [rng.pick(others)]
            value = facts[items[0]]
        else:
            items[0] = rng.pick(unstated)
    if style == "curt" and intent != "wrong_item":
        template = rng.common(family.curt)
    else:
        template = rng.common(family.answers if len(items) == 1 else family.sums)
    return fill(template, request, items, value)


def fill(template: str, request: Request, items: Sequence[str], value: str = "") -> str:
    """Returns an answer to a lookup: a template of its family with one or two items and a value, in lower case."""
    names = [request.names[item] for item in items]
    value = request.names.get(value, value)
    return template.format(i=names[0], j=names[-1], v=value, w=request.word, c=request.reading.comparing)


def wrong_value(rng: PortableRandom, request: Request, elsewhere: float = ELSEWHERE) -> str:
    """Returns a value that is not right: one that the prompt has (for a sum, or one near it), or one that it has not.

    Args:
        rng: random choices.
        request: a lookup.
        elsewhere: probability of a value that the prompt does not have.
    """
    reading, family = request.reading, lookups.LOOKUPS[request.reading.family]
    stated = [value for value in stated_values(request) if value != reading.right]
    if len(reading.asked) == 2:
        return rng.pick([*stated, *(str(int(reading.right) + step) for step in (-3, -2, -1, 1, 2, 3))])
    unstated = [value.lower() for value in family.values if value.lower() not in (*stated, reading.right)]
    return rng.pick(stated if stated and not (unstated and rng.chance(elsewhere)) else unstated)


def stated_values(request: Request) -> list[str]:
    """Returns the values of a lookup's family that its prompt has, in lower case and in order."""
    words = WORD.findall(plain_text(" ".join(message.content for message in request.prompt)))
    return list(dict.fromkeys(value for word in words if (value := value_of(word, request.reading.family))))


def _choice_response(rng: PortableRandom, request: Request, intent: Verdict) -> str:
    reading = request.reading
    family = lookups.LOOKUPS[reading.family]
    item = reading.asked[0]
    if intent == "wrong_value":
        item = reading.asked[1]
    elif intent == "wrong_item":
        others = [other for other, _ in reading.facts if other not in reading.asked]
        unstated = [other.lower() for other in family.items if other.lower() not in dict(reading.facts)]
        item = rng.pick(others if others and not rng.chance(ELSEWHERE) else unstated)
    return fill(rng.common(family.chosen), request, [item])


def _task_response(rng: PortableRandom, reading: Reading, intent: Verdict) -> str:
    (noun,) = reading.asked
    while intent == "wrong_item" and noun == reading.asked[0]:
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
