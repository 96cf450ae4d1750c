"""Parsing of decoded JSON records: comparisons, demonstrations, and texts to score.

A comparison is a JSON object or, as a role record, a JSON array:

    {"chosen": C, "rejected": R}                        transcripts, or lists of chat messages
    {"prompt": P, "chosen": C, "rejected": R}           P text or messages; C and R responses as text or messages
    {"prompt": P, "responses": [...], "ranks": [...]}   1 is best, ties share a rank
    {"prompt": P, "responses": [...], "scores": [...]}  higher is better
    [{"text": T, "role": "prompter" | "assistant"}, ...]  the prompt's turns, then the answers, best first

An object may also have "strength" and "margin" (one value for a pair, a list with one entry per pair for more
responses), "unsafe" (a list of booleans, one per response; of a pair, chosen first), "head" and "subset". A null is the
same as an absent key. Other keys are not read: `check_record` refuses likely misspellings, and `remarks` names the
others, so that they can be counted.
`rmjax.data.conversations` defines transcripts, and `rmjax.data.published` the records of known data sets.

In a record with a prompt, a response may be `true` or `false`: published files contain answers whose quotes a converter
removed. It is read as text, with a remark. A response may repeat the prompt, as a transcript or as messages. One that
begins like a transcript but does not repeat the prompt exactly is read as text, with a remark: an answer of a model may
contain further turns.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

from rmjax.data import conversations, values
from rmjax.data.comparisons import (
    Comparison,
    Demonstration,
    Prompt,
    best_responses,
    ranks_from_scores,
    validate_prompt,
)
from rmjax.data.published import ATTRIBUTES, standard_form
from rmjax.data.reading import DEFAULT, Reading, misspelled
from rmjax.errors import InputError, printable

COMPARISON_FORMS = (
    '{"chosen", "rejected"} as transcripts or chat messages, the same with "prompt" as plain responses, '
    '{"prompt", "responses", "ranks" or "scores"}, or an array of {"text", "role"}'
)
DEMONSTRATION_FORMS = '{"prompt", "response"}, {"messages"}, or any form of comparison'
SCORING_FORMS = (
    f'{{"prompt", "response"}}, {{"prompt", "responses"}}, {{"messages"}} or a comparison ({COMPARISON_FORMS})'
)

OTHER_NAMES = (
    "Columns of other names are read with data.columns=prompt=NAME,chosen=NAME,rejected=NAME (--columns of scripts "
    "without a configuration)"
)

_ABOUT = {"strength", "margin", "unsafe", "head", "subset"}
# The keys of every form of an object, by the key that identifies the form. A record with "rejected" alone is "chosen".
_KEYS = {
    "chosen": {"prompt", "chosen", "rejected"} | _ABOUT,
    "responses": {"prompt", "responses", "ranks", "scores"} | _ABOUT,
    "response": {"prompt", "response"},
    "messages": {"messages"},
}

Parsed = TypeVar("Parsed")
Texts = tuple[Prompt, tuple[str, ...]]


def _located(parse: Callable[[Any, str], Parsed]) -> Callable[..., Parsed]:
    """Brings a record into standard form and checks it; puts its origin, if given, before an InputError's message."""

    @functools.wraps(parse)
    def located(record: Any, origin: str = "", reading: Reading = DEFAULT) -> Parsed:
        try:
            record = standard_form(reading.renamed(record))
            check_record(record, reading)
            return parse(record, origin)
        except InputError as error:
            raise InputError(f"{origin}: {error}" if origin else str(error)) from None

    return located


@_located
def parse_comparison(record: Any, origin: str = "") -> Comparison:
    """Returns the comparison of a decoded JSON `record`; see the module for the forms.

    Raises:
        InputError: it is none of the forms, or a part of it is wrong.
    """
    return _comparison(record, origin)


@_located
def parse_demonstrations(record: Any, origin: str = "") -> list[Demonstration]:
    """Returns the demonstrations of a decoded JSON `record`.

    `{"prompt", "response"}` is one demonstration, `{"messages"}` one for every run of assistant turns, and a comparison
    one for every response of the best rank.

    Raises:
        InputError: the record is none of the forms, or a part of it is wrong.
    """
    form = _form(record)
    if form == "messages":
        turns = conversations.messages(record["messages"], "messages")
        answers = conversations.every_answer(turns, "messages")
    elif form == "response":
        prompt, (response,) = _texts(record)
        answers = [(prompt, response)]
    elif form is None:
        raise InputError(f"a demonstration is {DEMONSTRATION_FORMS}; found the keys {_listed(record)}. {OTHER_NAMES}")
    else:
        comparison = _comparison(record, origin)
        answers = [(comparison.prompt, response) for response in best_responses(comparison)]
    return [Demonstration(prompt, response, origin=origin) for prompt, response in answers]


@_located
def parse_prompt(record: Any, origin: str = "") -> Prompt:
    """Returns the prompt of a decoded JSON `record`, to generate responses to.

    The forms are `{"prompt"}`, `{"messages"}` that end with a user turn, and all forms of `parse_scoring`, whose
    responses are not read.

    Raises:
        InputError: the record is none of the forms, or its prompt is wrong.
    """
    form = _form(record)
    if form is None and "prompt" in _present(record):
        prompt = _prompt(_present(record))
    elif form is None:
        raise InputError(f'a prompt is {{"prompt"}} or {SCORING_FORMS}; found the keys {_listed(record)}')
    else:
        turns = conversations.messages(record["messages"], "messages") if form == "messages" else ()
        prompt = turns if turns and turns[-1].role == "user" else _texts(record)[0]
    validate_prompt(prompt)
    return prompt


@_located
def parse_scoring(record: Any, origin: str = "") -> Texts:
    """Returns the prompt and the responses to score of a decoded JSON `record`.

    The forms are `{"prompt", "response"}`, `{"prompt", "responses"}` (one or more, without ranks), `{"messages"}` that
    end with the response, and all forms of comparisons (chosen first).

    Raises:
        InputError: the record is none of the forms, or a part of it is wrong.
    """
    if _form(record) is None:
        raise InputError(f"a record to score is {SCORING_FORMS}; found the keys {_listed(record)}. {OTHER_NAMES}")
    prompt, responses = _texts(record)
    if not responses:
        raise InputError('"responses" is empty: nothing to score')
    validate_prompt(prompt)
    return prompt, responses


def check_record(record: Any, reading: Reading) -> None:
    """Raises InputError for too many responses, and for a key that is not read but likely misspells a known one."""
    answers = record.get("responses") if isinstance(record, dict) else record
    if isinstance(answers, list) and len(answers) > reading.max_responses:
        raise InputError(f"{len(answers)} responses or turns are more than max_responses={reading.max_responses}")
    if not isinstance(record, dict) or reading.extra_keys == "ignore":
        return
    present = set(_present(record))
    known = _KEYS.get(_form(record) or "", {"prompt"})
    for key in present - known:
        if nearest := misspelled(key, known, present):
            raise InputError(
                f'the key "{key}" is not known: did you mean "{nearest}"? To read the file without it, set '
                "extra_keys=ignore"
            )


def remarks(record: Any) -> tuple[str, ...]:
    """Returns remarks on a `record` that a parser accepted: keys not read, and booleans or transcripts read as text."""
    record = standard_form(record)
    form = _form(record)
    if form == "turns":
        return ()
    record = _present(record)
    if form is None:  # a prompt alone
        return tuple(f'key "{printable(key)}" not read' for key in record if key != "prompt")
    unread = record.keys() - _KEYS[form] - set(ATTRIBUTES)  # comparisons of HelpSteer's records read these
    found = [f'key "{printable(key)}" not read' for key in record if key in unread]
    texts = [record.get("chosen"), record.get("rejected"), record.get("response"), *record.get("responses", ())]
    found += ["boolean read as text" for text in texts if isinstance(text, bool)]
    others = _other_transcripts(record, texts)
    return (*found, *["transcript that does not repeat its prompt read as a response"] * others)


# --- forms ------------------------------------------------------------------------------------------------------------


def _form(record: Any) -> str | None:
    """Returns `turns` for an array, else the key that identifies the form of an object, or None."""
    if isinstance(record, list):
        return "turns"
    record = _present(record)
    if "rejected" in record:
        return "chosen"
    return next((key for key in _KEYS if key in record), None)


def _present(record: Any) -> dict:
    if not isinstance(record, dict):
        raise InputError(f"a record must be a JSON object or an array of turns, found {values.kind(record)}")
    return {key: value for key, value in record.items() if value is not None}


def _listed(record: dict) -> str:
    names = (repr(name)[1:-1] if not name.isprintable() else name for name in sorted(_present(record))[:12])
    return ", ".join(names) or "(none)"


def _comparison(record: Any, origin: str) -> Comparison:
    form = _form(record)
    if form not in ("turns", "chosen", "responses"):
        raise InputError(f"a comparison is {COMPARISON_FORMS}; found the keys {_listed(record)}. {OTHER_NAMES}")
    prompt, responses = _texts(record)
    if form == "turns":
        return Comparison(prompt, responses, _best_first(responses), origin=origin)
    record = _present(record)
    ranks, scores = (_best_first(responses), None) if form == "chosen" else _ranking(record)
    return Comparison(
        prompt,
        responses,
        ranks,
        scores=scores,
        unsafe=values.each(values.boolean, record["unsafe"], "unsafe") if "unsafe" in record else None,
        strengths=_per_pair(record, "strength", values.text),
        margins=_per_pair(record, "margin", values.number),
        head=values.label(record["head"], "head") if "head" in record else None,
        subset=values.label(record["subset"], "subset") if "subset" in record else None,
        origin=origin,
    )


# --- the texts of a record --------------------------------------------------------------------------------------------


def _texts(record: Any) -> Texts:
    """Returns prompt and responses of a record of any form."""
    form = _form(record)
    assert form is not None  # all callers check it
    if form == "turns":
        return conversations.role_record(record)
    record = _present(record)
    if form == "chosen":
        return _pair(record)
    if form == "messages":
        prompt, response = conversations.split_answer(conversations.messages(record[form], form), form)
        return prompt, (response,)
    prompt = _prompt(record)
    given = [record[form]] if form == "response" else record[form]
    return prompt, values.each(lambda value, key: _continuation(prompt, value, key), given, form)


def _pair(record: dict) -> tuple[Prompt, tuple[str, str]]:
    """Returns the prompt and (chosen, rejected)."""
    for key in ("chosen", "rejected"):
        if key not in record:
            raise InputError(f'"{key}" is missing or null: a pair needs both "chosen" and "rejected"')
    if "responses" in record:
        raise InputError('both "chosen" and "responses" are given: a record states one comparison in one form')
    if "prompt" not in record:
        chosen, rejected = (conversations.conversation(record[key], key) for key in ("chosen", "rejected"))
        return conversations.shared_prompt(chosen, rejected)
    prompt = _prompt(record)
    return prompt, (
        _continuation(prompt, record["chosen"], "chosen"),
        _continuation(prompt, record["rejected"], "rejected"),
    )


def _prompt(record: dict) -> Prompt:
    if "prompt" not in record:
        raise InputError('"prompt" is missing or null')
    value = record["prompt"]
    if isinstance(value, list):
        return conversations.messages(value, "prompt")
    return conversations.prompt_of_text(values.text(value, "prompt"))


def _continuation(prompt: Prompt, value: Any, key: str) -> str:
    return json.dumps(value) if isinstance(value, bool) else conversations.continuation(prompt, value, key)


def _other_transcripts(record: dict, texts: list[Any]) -> int:
    """Returns the number of responses to a prompt that begin like transcripts but do not repeat the prompt."""
    if "prompt" not in record:
        return 0
    given = [text for text in texts if isinstance(text, str)]
    turns = [found for text in given if (found := conversations.conversation_or_none(text, "")) is not None]
    prompt = _prompt(record) if turns else ()
    return sum(not conversations.repeats(prompt, found) for found in turns)


# --- the ranking ------------------------------------------------------------------------------------------------------


def _best_first(responses: tuple[str, ...]) -> tuple[int, ...]:
    return _first_numbers(len(responses))


@functools.lru_cache(64)  # the comparisons of a file share them
def _first_numbers(count: int) -> tuple[int, ...]:
    return tuple(range(1, count + 1))


def _ranking(record: dict) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Returns (ranks, scores or None)."""
    ranks = values.each(values.whole, record["ranks"], "ranks") if "ranks" in record else None
    scores = values.each(values.number, record["scores"], "scores") if "scores" in record else None
    if scores is None:
        if ranks is None:
            raise InputError('"responses" come with "ranks" (1 is best) or "scores" (higher is better), found neither')
        return ranks, None
    if ranks is not None and ranks_from_scores(scores) != ranks_from_scores(tuple(-rank for rank in ranks)):
        raise InputError(f'"ranks" {list(ranks)} and "scores" {list(scores)} order the responses differently')
    return ranks or ranks_from_scores(scores), scores


def _per_pair(record: dict, key: str, convert: Callable[[Any, str], Any]) -> tuple | None:
    if key not in record:
        return None
    value = record[key]
    return values.each(convert, value if isinstance(value, list) else [value], key)
