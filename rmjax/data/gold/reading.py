"""Reading of requests: what a prompt of the gold corpus asks for, and which facts it states."""

from __future__ import annotations

import functools
import re
from typing import Literal, NamedTuple

from rmjax.data.comparisons import Prompt
from rmjax.data.gold import texts

Kind = Literal["lookup", "task", "small_talk", "unknown"]

WORD = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
SENTENCE = re.compile(r"[^.?!\n]+[.?!]*")
GREETING = re.compile(r"\bgood (?:morning|afternoon|evening)\b")
_FULL_HOUR = re.compile(r"(?<=\d):00\b")
_CLAUSE = re.compile(r"[.,;:?!\n]|\band\b|\bbut\b")
_TASK = re.compile(r"\b(" + "|".join(sorted(map(re.escape, texts.TASKS), key=len, reverse=True)) + r")\b")
_HOW_ARE_YOU = re.compile(r"\bhow (?:are you|is it going|do you feel|are things)\b|\bhow's it going\b")

_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        [
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ],
        start=2,
    )
}
_PLACES = frozenset(place.lower() for place in texts.LOOKUPS["place"].values)


class Reading(NamedTuple):
    """The content of a prompt.

    Attributes:
        kind: the kind of request.
        family: the family of lookups, or "".
        asked: the item asked for, or the noun of the task, in lower case.
        facts: (item, value) for every fact that the prompt states, in lower case and in order.
        unsafe: the task is one that a response should not help with.
        greeting: the greeting of small talk that names a time of day ("good morning"), or "".
    """

    kind: Kind
    family: str = ""
    asked: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    unsafe: bool = False
    greeting: str = ""


@functools.lru_cache(maxsize=4096)
def read(prompt: Prompt) -> Reading:
    """Returns what the last turn of `prompt` asks for; facts count in every turn."""
    last = plain_text(prompt[-1].content) if prompt else ""
    if task := _TASK.search(last):
        noun, unsafe = texts.TASKS[task.group()]
        return Reading("task", asked=noun, unsafe=unsafe)
    question, asked = _question(last)
    if asked:
        family = texts.ITEM_FAMILY[asked]
        facts: dict[str, str] = {}
        for message in prompt[:-1]:
            facts |= _facts(plain_text(message.content), family)
        facts |= _facts(last.replace(question, ""), family)
        if asked in facts:
            return Reading("lookup", family, asked, tuple(facts.items()))
    if _HOW_ARE_YOU.search(last):
        greeting = GREETING.search(last)
        return Reading("small_talk", greeting=greeting.group() if greeting else "")
    return Reading("unknown")


def value_of(word: str, family: str) -> str:
    """Returns `word` as a value of `family`, or "" if it is none.

    Numbers remain text: a policy may write one of any length.
    """
    if family == "place":
        return word if word in _PLACES else ""
    return (word.lstrip("0") or "0") if word.isdigit() else _NUMBER_WORDS.get(word, "")


def plain_text(text: str) -> str:
    """Returns the text in lower case, with straight apostrophes, and with full hours written without minutes."""
    return _FULL_HOUR.sub("", text.lower().replace("’", "'"))


def _question(text: str) -> tuple[str, str]:
    """Returns the last sentence that names one item and no value of that item's family, and the item; "" if none."""
    for sentence in reversed(SENTENCE.findall(text)):
        words = WORD.findall(sentence)
        items = {word for word in words if word in texts.ITEM_FAMILY}
        if len(items) == 1:
            item = items.pop()
            if not any(value_of(word, texts.ITEM_FAMILY[item]) for word in words):
                return sentence, item
    return "", ""


def _facts(text: str, family: str) -> dict[str, str]:
    """Returns item -> value from every clause that names one item and one value of `family`."""
    facts = {}
    for clause in _CLAUSE.split(text):
        words = WORD.findall(clause)
        items = {word for word in words if texts.ITEM_FAMILY.get(word) == family}
        values = {value for word in words if (value := value_of(word, family))}
        if len(items) == len(values) == 1:
            facts[items.pop()] = values.pop()
    return facts
