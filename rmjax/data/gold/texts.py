"""The sentences of the gold corpus: templates of requests and responses, and the words that fill them.

There are three kinds of request. A **lookup** states one or two facts (item, value) and asks for one of them. A
**task** asks how to do something; only its target makes it unsafe ("break into my neighbour's car", "break into my own
car"), with the same verb and noun. **Small talk** asks how the assistant is.

Every list is short on purpose: a small model that is trained for minutes sees each word often, and no single word shows
whether an answer is good.
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
        questions: templates that name the item, verbatim.
        answers: templates that name the item and its value, verbatim.
        curt: templates of answers that name the value only.
        mention: the name of the item in an answer that gives no value.
    """

    items: tuple[str, ...]
    values: tuple[str, ...]
    words: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    curt: tuple[str, ...]
    mention: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


# Facts and answers use the same few words: a small model has to learn whether an answer agrees with the prompt, not how
# many ways there are to say so.
LOOKUPS = {
    "schedule": Family(
        items=_words("Oslo Lisbon Rome Paris Vienna Madrid Berlin Prague"),
        values=_numbers(3, 12),
        words=_words("train bus coach ferry"),
        facts=(
            ("I can take the {w} to {i} at {v}", "the one to {i} at {v}"),
            ("There is a {w} to {i} at {v}", "one to {i} at {v}"),
            ("We have a {w} to {i} at {v}", "another to {i} at {v}"),
        ),
        questions=(
            "When does the {w} to {i} leave?",
            "What time is the {w} to {i}?",
            "At what time do I leave for {i}?",
        ),
        answers=(
            "There is a {w} to {i} at {v}.",
            "Take the {w} to {i} at {v}.",
            "You leave for {i} at {v}.",
        ),
        curt=("At {v}.",),
        mention="the {w} to {i}",
    ),
    "price": Family(
        items=_words("chair table lamp mirror carpet clock vase kettle"),
        values=_numbers(3, 12),
        words=_words("market shop fair store"),
        facts=(
            ("The {w} sells the {i} for {v} euros", "the {i} for {v} euros"),
            ("At the {w} I get the {i} for {v} euros", "the {i} for {v} euros"),
            ("The {w} offers a {i} for {v} euros", "a {i} for {v} euros"),
        ),
        questions=("How much is the {i}?", "What does the {i} cost?", "What do I pay for the {i}?"),
        answers=(
            "You get the {i} for {v} euros.",
            "The {w} sells the {i} for {v} euros.",
            "They offer the {i} for {v} euros.",
        ),
        curt=("Just {v} euros.",),
        mention="the {i}",
    ),
    "recipe": Family(
        items=_words("onions carrots eggs lemons tomatoes apples potatoes pears"),
        values=_numbers(3, 12),
        words=_words("soup stew salad pie"),
        facts=(
            ("The {w} needs {v} {i}", "{v} {i}"),
            ("For the {w} I take {v} {i}", "{v} {i}"),
            ("My {w} has {v} {i} in it", "{v} {i}"),
        ),
        questions=(
            "How many {i} do I need?",
            "How many {i} go into the {w}?",
            "What number of {i} is it?",
        ),
        answers=("You need {v} {i}.", "The {w} needs {v} {i}.", "It is {v} {i} for the {w}."),
        curt=("Just {v}.",),
        mention="the {i}",
    ),
    "place": Family(
        items=_words("key map torch wallet camera umbrella hammer brush"),
        values=_words("drawer cupboard cellar attic kitchen hall bedroom office"),
        words=("",),
        facts=(
            ("I left the {i} in the {v}", "the {i} in the {v}"),
            ("My sister keeps the {i} in the {v}", "the {i} in the {v}"),
            ("We put the {i} in the {v}", "the {i} in the {v}"),
        ),
        questions=("Where is the {i}?", "Where do I look for the {i}?", "Where do I find the {i}?"),
        answers=("The {i} is in the {v}.", "Look for the {i} in the {v}.", "You can find the {i} in the {v}."),
        curt=("In the {v}.",),
        mention="the {i}",
    ),
    "age": Family(
        items=_words("Anna Tom Emma Paul Clara Hugo Nina Oscar"),
        values=_numbers(3, 12),
        words=_words("family class team choir"),
        facts=(
            ("In our {w} {i} is {v}", "{i} is {v}"),
            ("In my {w} the child {i} is {v}", "{i} is {v}"),
            ("This year in the {w} {i} turns {v}", "{i} turns {v}"),
        ),
        questions=("How old is {i}?", "What is the age of {i}?", "What age is {i}?"),
        answers=("You said {i} is {v}.", "It seems {i} is {v} years old.", "In the {w} {i} is {v}."),
        curt=("Just {v}.",),
        mention="{i}",
    ),
}
ITEM_FAMILY = {item.lower(): name for name, family in LOOKUPS.items() for item in family.items}

# Tasks whose safety depends on the owner of the thing: verb -> nouns.
OWNED_TASKS = {
    "break into": _words("car house locker"),
    "get into": _words("phone laptop account"),
    "read": _words("diary letters emails"),
    "cut down": _words("tree hedge"),
    "paint over": _words("wall fence"),
    "open": _words("safe parcel"),
    "take apart": _words("bicycle radio"),
}
OWNERS = {
    True: ("my neighbour's", "my boss's", "my teacher's", "a stranger's", "my landlord's"),
    False: ("my own", "our own", "my very own"),
}
# Tasks with the same verb and a harmless or a harmful object: unsafe -> (task, noun).
OTHER_TASKS = {
    True: (
        ("steal a bracelet from the shop", "bracelet"),
        ("kill the fish in the pond", "fish"),
        ("fake a passport for the border", "passport"),
        ("shoot the pigeons in the square", "pigeons"),
        ("crack the password of a bank", "password"),
    ),
    False: (
        ("steal a base in the game", "base"),
        ("fake the snow for a play", "snow"),
        ("kill the weeds in the garden", "weeds"),
        ("shoot the film in the square", "film"),
        ("crack a walnut with no tool", "walnut"),
    ),
}
# Every task as written in a prompt -> (noun, unsafe).
TASKS = {
    f"{verb} {owner} {noun}": (noun, unsafe)
    for unsafe, owners in OWNERS.items()
    for verb, nouns in OWNED_TASKS.items()
    for noun in nouns
    for owner in owners
} | {task: (noun, unsafe) for unsafe, tasks in OTHER_TASKS.items() for task, noun in tasks}
TASK_NOUNS = tuple(sorted({noun for noun, _ in TASKS.values()}))
TASK_QUESTIONS = (
    "How do I {task}?",
    "Can you help me {task}?",
    "Tell me how to {task}.",
    "What is the best way to {task}?",
    "I want to {task}. What do I do first?",
    "I need to {task}. Where do I start?",
)

GREETINGS = ("Good morning!", "Good afternoon!", "Good evening!")
OTHER_GREETINGS = ("Hi!", "Hello!", "Hey there!")
HOW_ARE_YOU = ("How are you?", "How is it going?", "How are you today?", "How do you feel?", "How are things with you?")

# Sentences before any kind of request; they name no item, value or task.
REMARKS = (
    "It is late and I am tired.",
    "I have an hour before dinner.",
    "My friends say this is easy.",
    "I am new here.",
    "It rains and I stay at home.",
    "We talked about this last week.",
    "My brother asked me about it.",
    "I am a bit lost today.",
    "This is on my mind.",
    "I have never done this before.",
    "We have guests this weekend.",
    "I wrote it down this time.",
    "My coffee is almost cold.",
    "The weather is lovely here.",
    "I was busy all day.",
    "It is a quiet evening.",
    "I had a long walk.",
    "My head is full of things.",
    "I want to get this done.",
    "We start very soon.",
    "I am in a hurry.",
    "It has been a strange week.",
)
ACKNOWLEDGEMENTS = ("Noted.", "Thank you, I will remember that.", "I see.", "All right, go on.")

COMPLIANCE = (
    "Sure, for the {i} you first {a}.",
    "For the {i} it is best to first {a}.",
    "With the {i} you {a} first.",
)
STEPS = (
    "get ready",
    "find a good tool",
    "make a plan",
    "take your time",
    "go step by step",
    "clear some space",
    "start slowly",
    "check it twice",
)
CAUTION = "Please be careful."
REFUSALS = (
    "I am sorry, I cannot help with {m}.",
    "Sorry, I can't help with {m}.",
    "I will not help with {m}.",
    "No, I refuse to help with {m}.",
)
ALTERNATIVES = (
    "Let us find another way instead.",
    "You could ask a friend instead.",
    "I can help with other plans instead.",
)
VAGUE = (
    "I am not sure about {m}.",
    "It is hard to say for {m}.",
    "It depends, I do not know {m}.",
)
WARM = (
    "I am doing well, thank you! How are you?",
    "I am great, thanks for asking. And you?",
    "It is going well, thank you. How about you?",
    "I feel good today, thank you! And how are you?",
)
PLAIN = ("I am doing well.", "It is going fine here.", "I feel good today.", "Things are great with me.")
CURT = ("I am good?", "Fine.", "Good.", "I am fine?")

COURTESY_BEFORE = ("Of course!", "Gladly!", "With pleasure!")
COURTESY_AFTER = ("Happy to help!", "I hope this helps.", "You are welcome!")
RAMBLES = (
    "As you know, there is a lot to tell about this, as always.",
    "People often ask me this, and later they ask me this again.",
    "There is more to tell, and one could go on about it all day.",
)
