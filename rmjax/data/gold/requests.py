"""Random requests of the gold corpus.

Every request belongs to a subset, which names the skill that it needs: `facts_1` to `facts_9_12` for a question about
one of so many facts, `earlier_turn`, `correction`, `denial`, `two_hops`, `comparison`, `sum`, `unsafe`, `lookalike`,
`disguised` and `small_talk`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rmjax.data.comparisons import Message, Prompt
from rmjax.data.gold import lookups, texts
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.reading import Reading
from rmjax.data.gold.statements import Stated, answer, joined, lower_pairs, question, state

FACTS = {"facts_1": (1, 1), "facts_2": (2, 2), "facts_3_4": (3, 4), "facts_5_8": (5, 8), "facts_9_12": (9, 12)}


class Request(NamedTuple):
    """A drawn prompt and its content.

    Attributes:
        subset: the skill that it needs.
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
    if subset in TASK_SUBSETS:
        return _task(rng, subset)
    return _SKILLS[subset](rng, subset)


# --- lookups ----------------------------------------------------------------------------------------------------------


def _plain(rng: PortableRandom, subset: str) -> Request:
    facts = state(rng, rng.number(*FACTS[subset]))
    return _asked(rng, subset, facts, [_remark(rng) + joined(facts.clauses)], rng.pick(facts.items))


def _earlier_turn(rng: PortableRandom, subset: str) -> Request:
    """Facts in the first turn, the question in the last; in between, others are asked or a remark is made."""
    facts = state(rng, rng.number(1, 4))
    *others, asked = rng.distinct(facts.items, rng.number(1, min(3, len(facts.items))))
    turns = [_remark(rng) + joined(facts.clauses), rng.pick(texts.ACKNOWLEDGEMENTS)]
    for item in others:
        turns += [question(rng, facts, item), answer(rng, facts, item)]
    if not others and rng.chance(0.3):
        turns += [rng.pick(texts.REMARKS), rng.pick(texts.ACKNOWLEDGEMENTS)]
    return _asked(rng, subset, facts, turns, asked)


def _correction(rng: PortableRandom, subset: str) -> Request:
    """A fact that a later sentence or turn replaces; the question is about it or, less often, about another."""
    facts = state(rng, rng.number(1, 3))
    item = rng.pick(facts.items)
    new = rng.pick([value for value in facts.family.values if value not in facts.values])
    sentence = rng.common(facts.family.corrected).format(i=item, v=new, w=facts.word)
    stated = _remark(rng) + joined(facts.clauses)
    facts = facts._replace(values=[new if i == item else v for i, v in zip(facts.items, facts.values, strict=True)])
    turns = [stated, rng.pick(texts.ACKNOWLEDGEMENTS), sentence] if rng.chance(0.5) else [f"{stated} {sentence}"]
    return _asked(rng, subset, facts, turns, item if rng.chance(0.7) else rng.pick(facts.items))


def _denial(rng: PortableRandom, subset: str) -> Request:
    """Clauses that also say what is not the case."""
    facts = state(rng, rng.number(1, 3))
    family = facts.family
    others = rng.distinct([value for value in family.values if value not in facts.values], len(facts.items))
    clauses = [
        f"{clause}, {family.denied.format(v=other)}" for clause, other in zip(facts.clauses, others, strict=True)
    ]
    return _asked(rng, subset, facts, [_remark(rng) + joined(clauses)], rng.pick(facts.items))


def _two_hops(rng: PortableRandom, subset: str) -> Request:
    """Travellers and their cities, cities and their hours; the question is about a traveller's hour."""
    count = rng.number(2, 3)
    hours = state(rng, count, ("schedule",))
    family = lookups.LOOKUPS["journey"]
    travellers = rng.frequent(family.items, count)
    first, further = rng.common(family.facts)
    order = rng.distinct(range(count), count)
    clauses = [
        (further if k else first).format(i=travellers[number], v=hours.items[number]) for k, number in enumerate(order)
    ]
    parts = [f"{joined(hours.clauses)}", f"{joined(clauses)}"]
    facts = Stated("journey", family, travellers, hours.values, hours.word, clauses)
    text = " ".join(parts if rng.chance(0.5) else parts[::-1])
    # The reader finds travellers in the order in which their clauses stand.
    stated = tuple((travellers[number].lower(), hours.values[number]) for number in order)
    request = _asked(rng, subset, facts, [text], rng.pick(travellers))
    return request._replace(reading=request.reading._replace(facts=stated))


def _comparison(rng: PortableRandom, subset: str) -> Request:
    facts = state(rng, rng.number(2, 4), tuple(name for name, family in lookups.LOOKUPS.items() if family.compared))
    high = rng.chance(0.5)
    two = rng.distinct(facts.items, 2)
    word = facts.family.order[high]
    question = rng.common(facts.family.compared).format(i=two[0], j=two[1], w=facts.word, c=word)
    values = dict(zip(facts.items, facts.values, strict=True))
    right, wrong = sorted(two, key=lambda item: int(values[item]), reverse=high)
    reading = Reading("choice", facts.name, (right.lower(), wrong.lower()), lower_pairs(facts), comparing=word)
    return _request(rng, subset, facts, [_remark(rng) + joined(facts.clauses)], question, reading)


def _sum(rng: PortableRandom, subset: str) -> Request:
    facts = state(rng, rng.number(2, 3), tuple(name for name, family in lookups.LOOKUPS.items() if family.together))
    two = rng.distinct(facts.items, 2)
    question = rng.common(facts.family.together).format(i=two[0], j=two[1], w=facts.word)
    values = dict(zip(facts.items, facts.values, strict=True))
    reading = Reading(
        "lookup",
        facts.name,
        tuple(item.lower() for item in two),
        lower_pairs(facts),
        str(sum(int(values[item]) for item in two)),
    )
    return _request(rng, subset, facts, [_remark(rng) + joined(facts.clauses)], question, reading)


_SKILLS: dict[str, Callable[[PortableRandom, str], Request]] = {
    **dict.fromkeys(FACTS, _plain),
    "earlier_turn": _earlier_turn,
    "correction": _correction,
    "denial": _denial,
    "two_hops": _two_hops,
    "comparison": _comparison,
    "sum": _sum,
}
LOOKUP_SUBSETS = tuple(_SKILLS)
TASK_SUBSETS = ("unsafe", "lookalike", "disguised")


def _remark(rng: PortableRandom) -> str:
    return f"{rng.pick(texts.REMARKS)} " if rng.chance(0.15) else ""


def _asked(rng: PortableRandom, subset: str, facts: Stated, turns: list[str], item: str) -> Request:
    """Returns the request whose question is about one item."""
    stated = lower_pairs(facts)
    reading = Reading("lookup", facts.name, (item.lower(),), stated, dict(stated)[item.lower()])
    return _request(rng, subset, facts, turns, question(rng, facts, item), reading)


def _request(
    rng: PortableRandom, subset: str, facts: Stated, turns: list[str], question: str, reading: Reading
) -> Request:
    """Returns the request whose question follows the last user turn, or is the next one."""
    turns = [*turns, question] if len(turns) % 2 == 0 else [*turns[:-1], f"{turns[-1]} {question}"]
    prompt = tuple(Message("assistant" if number % 2 else "user", turn) for number, turn in enumerate(turns))
    names = {name.lower(): name for name in (*facts.family.items, *facts.family.values)}
    return Request(subset, prompt, reading, names, facts.word)


# --- tasks and small talk ---------------------------------------------------------------------------------------------


def _task(rng: PortableRandom, subset: str) -> Request:
    unsafe = subset == "unsafe" or (subset == "disguised" and rng.chance(0.5))
    owned = subset == "disguised" or rng.chance(0.7)
    if owned:
        verb = rng.pick(tuple(texts.OWNED_TASKS))
        noun = rng.pick(texts.OWNED_TASKS[verb])
        task = f"{verb} {rng.pick(texts.OWNERS[unsafe])} {noun}"
    else:
        task, noun = rng.pick(texts.OTHER_TASKS[unsafe])
    remarks = rng.distinct(texts.REMARKS, 1 + rng.chance(0.3))
    if subset == "disguised":
        aside = rng.pick(texts.ASIDES[unsafe]).format(noun=noun)
        remarks = [*rng.distinct(texts.REMARKS, int(rng.chance(0.8))), aside]
    question = rng.pick(texts.TASK_QUESTIONS).format(task=task)
    prompt = (Message("user", " ".join([*remarks, question])),)
    return Request(subset, prompt, Reading("task", asked=(noun,), unsafe=unsafe), {}, "")


def _small_talk(rng: PortableRandom) -> Request:
    hello = rng.pick(texts.GREETINGS if rng.chance(0.7) else texts.OTHER_GREETINGS)
    remarks = rng.distinct(texts.REMARKS, 1 + rng.chance(0.8))
    prompt = (Message("user", " ".join([hello, *remarks, rng.pick(texts.HOW_ARE_YOU)])),)
    greeting = hello.strip("!").lower() if hello in texts.GREETINGS else ""
    return Request("small_talk", prompt, Reading("small_talk", greeting=greeting), {}, "")
