"""From JSON lines to comparisons, demonstrations and texts to score.

A comparison is a JSON object or, as a role record, a JSON array:

    {"chosen": C, "rejected": R}                        transcripts, or lists of chat messages
    {"prompt": P, "chosen": C, "rejected": R}           P text or messages; C and R responses as text or messages
    {"prompt": P, "responses": [...], "ranks": [...]}   1 is best, ties share a rank
    {"prompt": P, "responses": [...], "scores": [...]}  higher is better
    [{"text": T, "role": "prompter" | "assistant"}, ...]  the prompt's turns, then the answers, best first

each object optionally with "strength" and "margin" (one value for a pair, a list with one entry per pair beyond),
"head" and "subset". A null stands for an absent key. Other keys are columns of somebody else's: they are not read, and
`remarks` names them, so that they can be counted.

A transcript is text in the form of HH-RLHF, with turns that open with two line breaks and `Human:` or `Assistant:`. One
space after the colon belongs to the marker; everything else belongs to the turn and is left as it is.

A response beside a prompt may stand there as a bare `true` or `false`: published files hold such answers, whose quotes
a converter took for a boolean's. It is read as the text it is written as, with a remark.
"""

from __future__ import annotations

import collections
import functools
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rmjax.data.comparisons import (
    Comparison,
    Demonstration,
    Message,
    Prompt,
    best_responses,
    ranks_from_scores,
    validate_prompt,
)
from rmjax.errors import InputError

COMPARISON_FORMS = (
    '{"chosen", "rejected"} as transcripts or chat messages, the same with "prompt" as plain responses, '
    '{"prompt", "responses", "ranks" or "scores"}, or an array of {"text", "role"}'
)
DEMONSTRATION_FORMS = '{"prompt", "response"}, {"messages"}, or any form of comparison'

_MARKER = re.compile(r"\n\n(Human|Assistant):")
_ROLE_OF_MARKER = {"Human": "user", "Assistant": "assistant"}
_MARKER_OF_ROLE = {"user": "Human", "assistant": "Assistant", "system": "System"}
_ROLE_OF_RECORD = {"prompter": "user", "assistant": "assistant"}

_ABOUT = {"strength", "margin", "head", "subset"}
_PAIR_KEYS = {"prompt", "chosen", "rejected"} | _ABOUT
_RANKED_KEYS = {"prompt", "responses", "ranks", "scores"} | _ABOUT

Parsed = TypeVar("Parsed")


# --- records ----------------------------------------------------------------------------------------------------------


def _located(parse: Callable[..., Parsed]) -> Callable[..., Parsed]:
    """Puts the origin of a record, where one is given, before the message of an InputError."""

    @functools.wraps(parse)
    def located(record: Any, origin: str = "") -> Parsed:
        try:
            return parse(record, origin)
        except InputError as error:
            raise InputError(f"{origin}: {error}" if origin else str(error)) from None

    return located


@_located
def parse_comparison(record: Any, origin: str = "") -> Comparison:
    """The comparison that a decoded JSON `record` states; see the module for the forms.

    Raises:
        InputError: it is none of the forms, or a part of it is wrong.
    """
    if isinstance(record, list):
        prompt, responses = _role_record(record)
        return Comparison(prompt, responses, tuple(range(1, len(responses) + 1)), origin=origin)
    record = _present(record)
    scores = None
    if _is_pair(record):
        prompt, responses = _pair(record)
        ranks: tuple[int, ...] = (1, 2)
    elif "responses" in record:
        prompt, responses = _prompt(record), _responses(record)
        ranks, scores = _judgement(record)
    else:
        raise InputError(f"a comparison is {COMPARISON_FORMS}; found the keys {_listed(record)}")
    return Comparison(
        prompt,
        responses,
        ranks,
        scores=scores,
        strengths=_per_pair(record, "strength", _text),
        margins=_per_pair(record, "margin", _number),
        head=_label(record, "head"),
        subset=_label(record, "subset"),
        origin=origin,
    )


@_located
def parse_demonstrations(record: Any, origin: str = "") -> list[Demonstration]:
    """The demonstrations in `record`: one for `{"prompt", "response"}`, one for every run of assistant turns of
    `{"messages"}`; of a comparison the responses ranked first.

    Raises:
        InputError: the record is none of the forms, or a part of it is wrong.
    """
    if isinstance(record, dict):
        record = _present(record)
    if isinstance(record, dict) and not _is_pair(record) and "responses" not in record:
        if "response" in record:
            return [Demonstration(_prompt(record), _response(record["response"], "response"), origin=origin)]
        if "messages" in record:
            return _demonstrations_of_turns(_messages(record["messages"], "messages"), origin)
        raise InputError(f"a demonstration is {DEMONSTRATION_FORMS}; found the keys {_listed(record)}")
    comparison = parse_comparison(record, origin)
    return [Demonstration(comparison.prompt, text, origin=origin) for text in best_responses(comparison)]


@_located
def parse_scoring(record: Any, origin: str = "") -> tuple[Prompt, tuple[str, ...]]:
    """A prompt and the responses to score: `{"prompt", "response"}`, `{"prompt", "responses"}` (one or more, no
    judgement needed), `{"messages"}` that end with the response, or any form of comparison (chosen first).

    Raises:
        InputError: the record is none of the forms, or a part of it is wrong.
    """
    if isinstance(record, list):
        return _role_record(record)
    record = _present(record)
    if _is_pair(record):
        prompt, responses = _pair(record)
    elif "responses" in record:
        prompt, responses = _prompt(record), _responses(record)
        if not responses:
            raise InputError('"responses" is empty: nothing to score')
    elif "response" in record:
        prompt, responses = _prompt(record), (_response(record["response"], "response"),)
    elif "messages" in record:
        prompt, response = _split_turns(_messages(record["messages"], "messages"), "messages")
        responses = (response,)
    else:
        raise InputError(
            'a record to score is {"prompt", "response"}, {"prompt", "responses"}, {"messages"} or a comparison '
            f"({COMPARISON_FORMS}); found the keys {_listed(record)}"
        )
    validate_prompt(prompt)
    return prompt, responses


def remarks(record: Any) -> tuple[str, ...]:
    """What a parser passed over in a `record` that it accepted: the keys it did not read, booleans read as text."""
    if not isinstance(record, dict):
        return ()
    record = _present(record)
    if _is_pair(record):
        known = _PAIR_KEYS
    elif "responses" in record:
        known = _RANKED_KEYS
    else:
        known = {"prompt", "response"} if "response" in record else {"messages"}
    found = [f'key "{key}" not read' for key in record if key not in known]
    texts = [record.get("chosen"), record.get("rejected"), record.get("response"), *record.get("responses", ())]
    return (*found, *("boolean read as text" for text in texts if isinstance(text, bool)))


# --- files ------------------------------------------------------------------------------------------------------------


def read_jsonl(path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
    """Yields `(line number, decoded record)` of a file of JSON lines, gzipped where its name ends with `.gz`.

    Blank lines are skipped. NaN and Infinity, which Python's decoder would let pass, are not JSON.

    Raises:
        InputError: the file is missing, a directory, unreadable, broken, or holds no records.
    """
    path = os.fspath(path)
    opened = gzip.open if path.endswith(".gz") else open
    count = number = 0
    try:
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                text = _decoded(line, f"{path}:{number}")
                if text.strip():
                    count += 1
                    yield number, _loaded(text, f"{path}:{number}")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory, expected a .jsonl or .jsonl.gz file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}:{number + 1}: not a complete gzip file ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not count:
        raise InputError(f"{path}: holds no records, expected one JSON record per line")


def read_records(
    path: str | os.PathLike,
    parse: Callable[[Any, str], Parsed],
    notes: collections.Counter[str] | None = None,
) -> Iterator[Parsed]:
    """Yields `parse(record, "file:line")` for every record of a file.

    `notes` counts the `remarks` on the records.
    """
    for number, record in read_jsonl(path):
        parsed = parse(record, f"{os.fspath(path)}:{number}")
        if notes is not None:
            notes.update(remarks(record))
        yield parsed


def read_comparisons(path: str | os.PathLike, notes: collections.Counter[str] | None = None) -> list[Comparison]:
    """The comparisons of a JSON-lines file. Raises InputError, with file and line."""
    return list(read_records(path, parse_comparison, notes))


def read_demonstrations(path: str | os.PathLike, notes: collections.Counter[str] | None = None) -> list[Demonstration]:
    """The demonstrations of a JSON-lines file, which may hold comparisons. Raises InputError, with file and line."""
    return [demonstration for group in read_records(path, parse_demonstrations, notes) for demonstration in group]


def read_scoring(path: str | os.PathLike) -> list[tuple[Prompt, tuple[str, ...]]]:
    """The prompts and responses to score of a JSON-lines file. Raises InputError, with file and line."""
    return list(read_records(path, parse_scoring))


def _decoded(line: bytes, origin: str) -> str:
    try:
        return line.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: not UTF-8 text (byte {error.start + 1} of the line)") from None


def _loaded(text: str, origin: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin}: not a JSON record ({error})") from None


# --- conversations ----------------------------------------------------------------------------------------------------


def _pair(record: dict) -> tuple[Prompt, tuple[str, str]]:
    """The prompt and (chosen, rejected)."""
    for key in ("chosen", "rejected"):
        if key not in record:
            raise InputError(f'"{key}" is missing or null: a pair needs both "chosen" and "rejected"')
    if "responses" in record:
        raise InputError('both "chosen" and "responses" are given: a record states one comparison in one form')
    if "prompt" not in record:
        chosen, rejected = (_conversation(record[key], key) for key in ("chosen", "rejected"))
        return _shared_prompt(chosen, rejected)
    prompt = _prompt(record)
    texts = []
    for key in ("chosen", "rejected"):
        # Many files repeat the prompt inside of the conversation; it is the prompt once, not a part of the response.
        turns = _turns_or_none(record[key], key)
        repeated = turns is not None and turns[: len(prompt)] == prompt and len(turns) > len(prompt)
        texts.append(_rendered(turns[len(prompt) :], key) if repeated else _response(record[key], key))
    return prompt, (texts[0], texts[1])


def _shared_prompt(chosen: Prompt, rejected: Prompt) -> tuple[Prompt, tuple[str, str]]:
    """Parts two conversations into their prompt and a response each.

    The prompt is what both have in common and ends with a user turn; each response starts with an assistant turn and is
    usually that one turn. Where the conversations diverge earlier, or the assistant spoke twice in a row, the response
    holds the further turns too, with their markers.
    """
    for key, turns in (("chosen", chosen), ("rejected", rejected)):
        _require_answer(turns, key)
    common = 0
    while common < min(len(chosen), len(rejected)) and chosen[common] == rejected[common]:
        common += 1
    for end in range(common, 0, -1):
        if chosen[end - 1].role == "user" and chosen[end].role == rejected[end].role == "assistant":
            return chosen[:end], (_rendered(chosen[end:], "chosen"), _rendered(rejected[end:], "rejected"))
    raise InputError(
        '"chosen" and "rejected" have no opening user turn in common that the assistant answers in both, so there is '
        "no prompt"
    )


def _split_turns(turns: Prompt, key: str) -> tuple[Prompt, str]:
    """Parts one conversation before its last run of assistant turns."""
    _require_answer(turns, key)
    start = len(turns)
    while start and turns[start - 1].role == "assistant":
        start -= 1
    return turns[:start], _rendered(turns[start:], key)


def _demonstrations_of_turns(turns: Prompt, origin: str) -> list[Demonstration]:
    ends = [
        end
        for end in range(1, len(turns) + 1)
        if turns[end - 1].role == "assistant" and (end == len(turns) or turns[end].role != "assistant")
    ]
    if not ends:
        raise InputError('"messages" has no assistant turn, so there is nothing to imitate')
    return [Demonstration(*_split_turns(turns[:end], "messages"), origin=origin) for end in ends]


def _require_answer(turns: Prompt, key: str) -> None:
    if turns[-1].role != "assistant":
        marker = _MARKER_OF_ROLE.get(turns[-1].role, turns[-1].role)
        raise InputError(f'"{key}" ends with a {marker} turn: its last turn must be the response, an Assistant turn')


def _rendered(turns: Prompt, key: str) -> str:
    """The text of a response: one assistant turn, or several turns with the markers between them."""
    if turns[0].role != "assistant":
        raise InputError(f'"{key}" continues the prompt with a {turns[0].role} turn: a response is an assistant turn')
    rest = (f"\n\n{_MARKER_OF_ROLE[turn.role]}: {turn.content}" for turn in turns[1:])
    return turns[0].content + "".join(rest)


def _turns_or_none(value: Any, key: str) -> Prompt | None:
    """`value` as a conversation, or None for plain text."""
    if isinstance(value, list):
        return _messages(value, key)
    return _transcript(value) if isinstance(value, str) and value.startswith("\n\nHuman:") else None


def _conversation(value: Any, key: str) -> Prompt:
    if isinstance(value, list):
        return _messages(value, key)
    turns = _transcript(_text(value, key))
    if not turns:
        raise InputError(
            f'"{key}" is plain text without a prompt: give "prompt" beside it, or turns that open with two line breaks '
            'and "Human:" or "Assistant:", or a list of chat messages'
        )
    return turns


def _transcript(text: str) -> Prompt:
    """The turns of a transcript; none where `text` does not open with a turn marker."""
    before, *parts = _MARKER.split("\n\n" + text.lstrip())
    if before:
        return ()
    return tuple(
        Message(_ROLE_OF_MARKER[marker], content.removeprefix(" "))
        for marker, content in zip(parts[::2], parts[1::2], strict=True)
    )


def _messages(value: Any, key: str) -> Prompt:
    if not isinstance(value, list) or not value:
        raise InputError(f'"{key}" must be a list of at least one {{"role", "content"}}, found {_kind(value)}')
    messages = []
    for entry in value:
        if not isinstance(entry, dict) or not {"role", "content"} <= entry.keys():
            raise InputError(f'every message of "{key}" must be {{"role", "content"}}, found {_kind(entry)}')
        role = _text(entry["role"], f"{key}.role")
        if role not in _MARKER_OF_ROLE:
            raise InputError(f'the role of a message must be system, user or assistant, found {role!r} in "{key}"')
        messages.append(Message(role, _text(entry["content"], f"{key}.content")))
    return tuple(messages)


def _role_record(record: list) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt, which ends with the last prompter, and the answers after it."""
    turns = []
    for entry in record:
        if not isinstance(entry, dict) or entry.get("role") not in list(_ROLE_OF_RECORD) or "text" not in entry:
            raise InputError(
                'every entry of an array record must be {"text", "role": "prompter" or "assistant"}, found '
                + (json.dumps(entry)[:80] if isinstance(entry, dict) else _kind(entry))
            )
        turns.append(Message(_ROLE_OF_RECORD[entry["role"]], _text(entry["text"], "text")))
    end = max((i + 1 for i, turn in enumerate(turns) if turn.role == "user"), default=0)
    if not 0 < end < len(turns):
        raise InputError(
            "an array record holds the prompter's turns first and then the assistant's answers, best first"
        )
    return tuple(turns[:end]), tuple(turn.content for turn in turns[end:])


# --- single values ----------------------------------------------------------------------------------------------------


def _present(record: Any) -> dict:
    if not isinstance(record, dict):
        raise InputError(f"a record must be a JSON object or an array of turns, found {_kind(record)}")
    return {key: value for key, value in record.items() if value is not None}


def _is_pair(record: dict) -> bool:
    return "chosen" in record or "rejected" in record


def _prompt(record: dict) -> Prompt:
    if "prompt" not in record:
        raise InputError('"prompt" is missing or null')
    value = record["prompt"]
    turns = _turns_or_none(value, "prompt")
    if turns is None:
        return (Message("user", _text(value, "prompt")),)
    if isinstance(value, str) and turns[-1] == Message("assistant", ""):
        turns = turns[:-1]  # a transcript that already invites the answer: "...\n\nAssistant:"
    return turns


def _response(value: Any, key: str) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    return _rendered(_messages(value, key), key) if isinstance(value, list) else _text(value, key)


def _responses(record: dict) -> tuple[str, ...]:
    values = record["responses"]
    if not isinstance(values, list):
        raise InputError(f'"responses" must be a list of texts, found {_kind(values)}')
    return tuple(_response(value, "responses") for value in values)


def _judgement(record: dict) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    ranks = _list(record, "ranks", _whole)
    scores = _list(record, "scores", _number)
    if ranks is None and scores is None:
        raise InputError('"responses" come with "ranks" (1 is best) or "scores" (higher is better), found neither')
    if scores is None:
        return ranks, None
    if ranks is not None and ranks_from_scores(scores) != ranks_from_scores(tuple(-rank for rank in ranks)):
        raise InputError(f'"ranks" {list(ranks)} and "scores" {list(scores)} order the responses differently')
    return ranks or ranks_from_scores(scores), scores


def _per_pair(record: dict, key: str, convert: Callable[[Any, str], Any]) -> tuple | None:
    if key in record and not isinstance(record[key], list):
        return (convert(record[key], key),)
    return _list(record, key, convert)


def _list(record: dict, key: str, convert: Callable[[Any, str], Any]) -> tuple | None:
    if key not in record:
        return None
    if not isinstance(record[key], list):
        raise InputError(f'"{key}" must be a list, found {_kind(record[key])}')
    return tuple(convert(value, key) for value in record[key])


def _label(record: dict, key: str) -> str | None:
    if key not in record:
        return None
    label = _text(record[key], key)
    if not label:
        raise InputError(f'"{key}" is an empty string: leave it out instead')
    return label


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise InputError(f'"{key}" must be text, found {_kind(value)}')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f'"{key}" holds half of a surrogate pair (as in "\\ud83d"), which is not a character'
        ) from None
    return value


def _whole(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f'"{key}" must hold whole numbers, found {_kind(value)}')
    return value


def _number(value: Any, key: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number beyond the range of a float
        pass
    raise InputError(f'"{key}" must hold finite numbers, found {_kind(value)}')


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return {str: "text", list: "a list", dict: "an object"}.get(type(value), type(value).__name__)


def _listed(record: dict) -> str:
    return ", ".join(sorted(record)[:12]) or "(none)"
