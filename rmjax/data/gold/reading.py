"""Reading of requests: what a prompt of the gold corpus asks for, and which facts it states."""

from __future__ import annotations

import functools
import re
from typing import Literal, NamedTuple

from rmjax.data.comparisons import Prompt
from rmjax.data.gold import lookups, texts

Kind = Literal["lookup", "choice", "task", "small_talk", "unknown"]

WORD = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
SENTENCE = re.compile(r"[^.?!\n]+[.?!]*")
GREETING = re.compile(r"\bgood (?:morning|afternoon|evening)\b")
_FULL_HOUR = re.compile(r"(?<=\d):00\b")
_CLAUSE = re.compile(r"[.,;:?!\n]|\band\b|\bbut\b")
_NEGATED = re.compile(r"\b(?:not|no longer|isn't|doesn't)\b")
_TOGETHER = re.compile(r"\b(?:together|in total|altogether)\b")
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
_WORD_VALUES = {
    name: frozenset(value.lower() for value in lookups.LOOKUPS[name].values) for name in ("place", "colour")
}
_CITIES = frozenset(city.lower() for city in lookups.LOOKUPS["schedule"].items)


class Reading(NamedTuple):
    """The content of a prompt.

    Attributes:
        kind: the kind of request; a `choice` is a lookup that asks which of two items is more.
        family: the family of lookups, or "".
        asked: the items asked for, or the noun of the task, in lower case. For a choice the right item is the first.
        facts: (item, value) for every fact that the prompt states, in lower case and in order.
        right: the right value of a lookup, or "".
        comparing: the word of a choice that compares ("cheaper"), or "".
        unsafe: the task is one that a response should not help with.
        greeting: the greeting of small talk that names a time of day ("good morning"), or "".
    """

    kind: Kind
    family: str = ""
    asked: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    right: str = ""
    comparing: str = ""
    unsafe: bool = False
    greeting: str = ""


class Question(NamedTuple):
    """The last sentence that asks for items: its text, the items in order, and the word that compares them or ""."""

    sentence: str
    items: tuple[str, ...]
    comparing: str


@functools.lru_cache(maxsize=4096)
def read(prompt: Prompt) -> Reading:
    """Returns what the last turn of `prompt` asks for; facts count in every turn, later ones replace earlier ones."""
    last = plain_text(prompt[-1].content) if prompt else ""
    if task := _TASK.search(last):
        noun, unsafe = texts.TASKS[task.group()]
        return Reading("task", asked=(noun,), unsafe=unsafe)
    if question := _question(last):
        stated = [plain_text(message.content) for message in prompt[:-1]] + [last.replace(question.sentence, "")]
        if (found := _lookup(question, "\n".join(stated))) is not None:
            return found
    if _HOW_ARE_YOU.search(last):
        greeting = GREETING.search(last)
        return Reading("small_talk", greeting=greeting.group() if greeting else "")
    return Reading("unknown")


def value_of(word: str, family: str) -> str:
    """Returns `word` as a value of `family`, or "" if it is none.

    Numbers remain text: a policy may write one of any length.
    """
    if family in _WORD_VALUES:
        return word if word in _WORD_VALUES[family] else ""
    return (word.lstrip("0") or "0") if word.isdigit() else _NUMBER_WORDS.get(word, "")


def plain_text(text: str) -> str:
    """Returns the text in lower case, with straight apostrophes, and with full hours written without minutes."""
    return _FULL_HOUR.sub("", text.lower().replace("’", "'"))


def _question(text: str) -> Question | None:
    """Returns the last sentence that asks for one item, or for two that it compares or adds; None if none does."""
    for sentence in reversed(SENTENCE.findall(text)):
        words = WORD.findall(sentence)
        items = tuple(dict.fromkeys(word for word in words if word in lookups.ITEM_FAMILY))
        families = {lookups.ITEM_FAMILY[item] for item in items}
        if len(families) != 1 or any(value_of(word, family) for word in words for family in families):
            continue
        comparing = next((word for word in words if word in lookups.COMPARING), "")
        if len(items) == 1 or (len(items) == 2 and (comparing or _TOGETHER.search(sentence))):
            return Question(sentence, items, comparing if len(items) == 2 else "")
    return None


def _lookup(question: Question, stated: str) -> Reading | None:
    """Returns the reading of a question about the facts in a text; None if the text does not answer it."""
    family = lookups.ITEM_FAMILY[question.items[0]]
    facts = _journeys(stated) if family == "journey" else _facts(stated, family)
    values = [facts[item] for item in question.items if item in facts]
    if len(values) < len(question.items):
        return None
    if len(values) == 1:
        return Reading("lookup", family, question.items, tuple(facts.items()), values[0])
    if not all(value.isdigit() for value in values):
        return None
    if not question.comparing:
        return Reading("lookup", family, question.items, tuple(facts.items()), str(sum(map(int, values))))
    compared, high = lookups.COMPARING[question.comparing]
    if compared != family or values[0] == values[1]:
        return None
    items = sorted(question.items, key=lambda item: int(facts[item]), reverse=high)
    return Reading("choice", family, tuple(items), tuple(facts.items()), comparing=question.comparing)


def _facts(text: str, family: str) -> dict[str, str]:
    """Returns item -> value from every clause that names one item and one value of `family` and negates nothing."""
    facts = {}
    for clause in _CLAUSE.split(text):
        words = WORD.findall(clause)
        items = {word for word in words if lookups.ITEM_FAMILY.get(word) == family}
        values = {value for word in words if (value := value_of(word, family))}
        if len(items) == len(values) == 1 and not _NEGATED.search(clause):
            facts[items.pop()] = values.pop()
    return facts


def _journeys(text: str) -> dict[str, str]:
    """Returns traveller -> hour, from the city that a traveller is named with and the hour of that city."""
    hours = _facts(text, "schedule")
    journeys = {}
    for clause in _CLAUSE.split(text):
        words = WORD.findall(clause)
        travellers = {word for word in words if lookups.ITEM_FAMILY.get(word) == "journey"}
        cities = set(_CITIES.intersection(words))
        if len(travellers) == len(cities) == 1 and (city := cities.pop()) in hours:
            journeys[travellers.pop()] = hours[city]
    return journeys
