"""Lookups of the gold corpus: templates of facts, questions and answers, and the items and values that fill them.

A **lookup** states facts (item, value) and asks for one of them, for the result of two, or which of two is more.

Words and phrasings are in the order of their frequency: the first of a list is drawn most often (Zipf's law). So the
corpus has a long tail, and no single word shows whether an answer is good.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Family:
    """One family of lookups. In templates `{i}` is the item, `{v}` its value, `{w}` a word that stays the same.

    Attributes:
        items: the choices for `{i}`; no word is an item of two families.
        values: the choices for `{v}`.
        words: the choices for `{w}`.
        facts: pairs (first clause, each further clause); a request uses one pair.
        denied: words after a clause that name a value which is not the item's.
        corrected: sentences that replace the value of an item that was stated before.
        questions: templates that name the item, verbatim.
        answers: templates that name the item and its value, verbatim.
        curt: templates of answers that name the value only.
        mention: the name of the item in an answer that gives no value.
        compared: questions for one of the items `{i}` and `{j}`, by the words that say which: the lower value, the
            higher value; none if values have no order.
        chosen: templates of answers to them; `{c}` is the word.
        together: questions for the sum of two items' values; none if a sum means nothing.
        sums: templates of answers to them.
    """

    items: tuple[str, ...]
    values: tuple[str, ...]
    words: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    denied: str
    corrected: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    curt: tuple[str, ...]
    mention: str
    compared: tuple[str, ...] = ()
    order: tuple[str, str] = ("", "")
    chosen: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NUMBERS = tuple(str(number) for number in range(2, 14))

# Facts and answers use the same few words: a small model has to learn whether an answer agrees with the prompt, not how
# many ways there are to say so.
LOOKUPS = {
    "schedule": Family(
        items=_words(
            "Oslo Lisbon Rome Paris Vienna Madrid Berlin Prague Athens Dublin Geneva Naples Porto Riga Turin Zagreb"
        ),
        values=NUMBERS,
        words=_words("train bus coach ferry"),
        facts=(
            ("I can take the {w} to {i} at {v}", "the one to {i} at {v}"),
            ("There is a {w} to {i} at {v}", "one to {i} at {v}"),
            ("We have a {w} to {i} at {v}", "another to {i} at {v}"),
            ("The timetable has a {w} for {i} at {v}", "for {i} at {v}"),
        ),
        denied="not at {v}",
        corrected=("No, the {w} to {i} is at {v}.", "Sorry, for {i} it is at {v}.", "I was wrong, {i} is at {v}."),
        questions=(
            "When does the {w} to {i} leave?",
            "What time is the {w} to {i}?",
            "At what time do I leave for {i}?",
            "When do I go to {i}?",
            "My trip is to {i}, so when is it?",
        ),
        answers=(
            "There is a {w} to {i} at {v}.",
            "Take the {w} to {i} at {v}.",
            "You leave for {i} at {v}.",
            "For {i} it is the {w} at {v}.",
        ),
        curt=("At {v}.",),
        mention="the {w} to {i}",
        compared=("Which {w} is {c}, the one to {i} or to {j}?", "What leaves {c}, the {w} to {i} or to {j}?"),
        order=("earlier", "later"),
        chosen=("The {w} to {i} is {c}.", "The one to {i} leaves {c}."),
    ),
    "price": Family(
        items=_words(
            "chair table lamp mirror carpet clock vase kettle stool basket blanket candle pillow bucket teapot ladder"
        ),
        values=NUMBERS,
        words=_words("market shop fair store"),
        facts=(
            ("The {w} sells the {i} for {v} euros", "the {i} for {v} euros"),
            ("At the {w} I get the {i} for {v} euros", "the {i} for {v} euros"),
            ("The {w} offers a {i} for {v} euros", "a {i} for {v} euros"),
            ("They ask {v} euros for the {i} at the {w}", "{v} euros for the {i}"),
        ),
        denied="not for {v}",
        corrected=(
            "No, the {i} is {v} euros.",
            "Sorry, the {i} costs {v} euros.",
            "I was wrong, the {i} is {v} euros.",
        ),
        questions=(
            "How much is the {i}?",
            "What does the {i} cost?",
            "What do I pay for the {i}?",
            "What is the price of the {i}?",
            "I want the {i}, so how much is it?",
        ),
        answers=(
            "You get the {i} for {v} euros.",
            "The {w} sells the {i} for {v} euros.",
            "They offer the {i} for {v} euros.",
            "The {i} is {v} euros.",
        ),
        curt=("Just {v} euros.",),
        mention="the {i}",
        compared=("Which is {c}, the {i} or the {j}?", "What is {c} here, the {i} or the {j}?"),
        order=("cheaper", "dearer"),
        chosen=("The {i} is {c}.", "It is the {i} that is {c}."),
        together=("How much are the {i} and the {j} together?", "What do the {i} and the {j} cost together?"),
        sums=("The {i} and the {j} are {v} euros.", "Together the {i} and the {j} cost {v} euros."),
    ),
    "recipe": Family(
        items=_words(
            "onions carrots eggs lemons tomatoes apples potatoes pears plums peppers cherries mushrooms figs beans "
            "limes olives"
        ),
        values=NUMBERS,
        words=_words("soup stew salad pie"),
        facts=(
            ("The {w} needs {v} {i}", "{v} {i}"),
            ("For the {w} I take {v} {i}", "{v} {i}"),
            ("My {w} has {v} {i} in it", "{v} {i}"),
            ("I put {v} {i} in the {w}", "{v} {i}"),
        ),
        denied="not {v}",
        corrected=("No, it is {v} {i}.", "Sorry, I take {v} {i}.", "I was wrong, it needs {v} {i}."),
        questions=(
            "How many {i} do I need?",
            "How many {i} go into the {w}?",
            "What number of {i} is it?",
            "How many {i} should I buy?",
            "I have no {i}, so how many do I get?",
        ),
        answers=("You need {v} {i}.", "The {w} needs {v} {i}.", "It is {v} {i} for the {w}.", "You take {v} {i}."),
        curt=("Just {v}.",),
        mention="the {i}",
        together=("How many {i} and {j} do I need together?", "How many are the {i} and {j} together?"),
        sums=("You need {v} {i} and {j}.", "Together it is {v} {i} and {j}."),
    ),
    "place": Family(
        items=_words(
            "key map torch wallet camera umbrella hammer brush ticket ring glove whistle ribbon compass button spoon"
        ),
        values=_words("drawer cupboard cellar attic kitchen hall bedroom office garage pantry shed studio"),
        words=("",),
        facts=(
            ("I left the {i} in the {v}", "the {i} in the {v}"),
            ("My sister keeps the {i} in the {v}", "the {i} in the {v}"),
            ("We put the {i} in the {v}", "the {i} in the {v}"),
            ("In the {v} there is the {i}", "in the {v} the {i}"),
        ),
        denied="not in the {v}",
        corrected=(
            "No, the {i} is in the {v}.",
            "Sorry, I put the {i} in the {v}.",
            "I was wrong, the {i} is in the {v}.",
        ),
        questions=(
            "Where is the {i}?",
            "Where do I look for the {i}?",
            "Where do I find the {i}?",
            "Where did the {i} go?",
            "I need the {i}, so where is it?",
        ),
        answers=(
            "The {i} is in the {v}.",
            "Look for the {i} in the {v}.",
            "You can find the {i} in the {v}.",
            "In the {v} you find the {i}.",
        ),
        curt=("In the {v}.",),
        mention="the {i}",
    ),
    "age": Family(
        items=_words("Anna Tom Emma Paul Clara Hugo Nina Oscar Ivan Julia Leo Marta Otto Ruth Simon Vera"),
        values=NUMBERS,
        words=_words("family class team choir"),
        facts=(
            ("In our {w} {i} is {v}", "{i} is {v}"),
            ("In my {w} the child {i} is {v}", "{i} is {v}"),
            ("This year in the {w} {i} turns {v}", "{i} turns {v}"),
            ("The {w} list says that {i} is {v}", "that {i} is {v}"),
        ),
        denied="not {v}",
        corrected=("No, {i} is {v}.", "Sorry, {i} is {v} now.", "I was wrong, {i} is {v}."),
        questions=(
            "How old is {i}?",
            "What is the age of {i}?",
            "What age is {i}?",
            "How old would {i} be?",
            "I forgot about {i}, so how old?",
        ),
        answers=(
            "You said {i} is {v}.",
            "It seems {i} is {v} years old.",
            "In the {w} {i} is {v}.",
            "The age of {i} is {v}.",
        ),
        curt=("Just {v}.",),
        mention="{i}",
        compared=("Who is {c}, {i} or {j}?", "Which of them is {c}, {i} or {j}?"),
        order=("younger", "older"),
        chosen=("It is {i} who is {c}.", "I think {i} is {c}."),
    ),
    "colour": Family(
        items=_words("scarf coat hat shirt dress jacket skirt belt cap vest tie apron shawl robe sweater cloak"),
        values=_words("red blue green white black yellow brown grey pink purple orange golden"),
        words=("",),
        facts=(
            ("I have a {v} {i}", "a {v} {i}"),
            ("In the bag there is a {v} {i}", "a {v} {i}"),
            ("We bought a {v} {i}", "a {v} {i}"),
            ("The {i} they gave us is {v}", "the {i} is {v}"),
        ),
        denied="not {v}",
        corrected=("No, the {i} is {v}.", "Sorry, it is a {v} {i}.", "I was wrong, the {i} is {v}."),
        questions=(
            "What colour is the {i}?",
            "Which colour has the {i}?",
            "What is the colour of the {i}?",
            "How would you describe the {i}?",
            "I look for the {i}, so what colour is it?",
        ),
        answers=("The {i} is {v}.", "It is a {v} {i}.", "You have a {v} {i}.", "The colour of the {i} is {v}."),
        curt=("Just {v}.",),
        mention="the {i}",
    ),
    # A journey is found in two steps: the traveller's city, then the hour of the train to this city.
    "journey": Family(
        items=_words("Mia Noah Lena Jonas Eva Felix Sara Adam Iris Karl Lucy Max Olga Peter Rosa Viktor"),
        values=NUMBERS,
        words=_words("train bus coach ferry"),
        facts=(
            ("{i} goes to {v}", "{i} to {v}"),
            ("{i} lives in {v}", "{i} in {v}"),
            ("I see {i} off to {v}", "{i} to {v}"),
        ),
        denied="",
        corrected=(),
        questions=("When does {i} leave?", "What time is the {w} of {i}?", "At what time does {i} go?"),
        answers=("{i} leaves at {v}.", "The {w} of {i} is at {v}.", "For {i} it is at {v}."),
        curt=("At {v}.",),
        mention="{i}",
    ),
}
ITEM_FAMILY = {item.lower(): name for name, family in LOOKUPS.items() for item in family.items}
# A word that compares -> (family, the higher value is asked for).
COMPARING = {
    word: (name, bool(high)) for name, family in LOOKUPS.items() for high, word in enumerate(family.order) if word
}
