"""Conversion of transcripts and chat messages to turns, and of turns to a prompt and a response.

A transcript is a text in the form of HH-RLHF: turns begin with two line breaks and `Human:` or `Assistant:`. One space
after the colon belongs to the marker; everything else belongs to the turn and is not changed.

The prompt consists of the turns before the last assistant turn. A response starts with an assistant turn and usually is
that one turn. `key` is the JSON key of a value, for messages.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rmjax.data import values
from rmjax.data.comparisons import Message, Prompt
from rmjax.errors import InputError

_MARKER = re.compile(r"\n\n(Human|Assistant):")
_ROLE_OF_MARKER = {"Human": "user", "Assistant": "assistant"}
_MARKER_OF_ROLE = {"user": "Human", "assistant": "Assistant", "system": "System"}
_ROLE_OF_RECORD = {"prompter": "user", "assistant": "assistant"}


def conversation(value: Any, key: str) -> Prompt:
    """Returns the turns of a transcript or of chat messages that contain prompt and response."""
    if isinstance(value, list):
        return messages(value, key)
    turns = transcript(values.text(value, key))
    if not turns:
        raise InputError(
            f'"{key}" is plain text without a prompt: give "prompt" too, or turns that begin with two line breaks '
            'and "Human:" or "Assistant:", or a list of chat messages'
        )
    return turns


def conversation_or_none(value: Any, key: str) -> Prompt | None:
    """Returns the turns of a value, or None if it is plain text: a transcript begins with its marker."""
    if isinstance(value, list):
        return messages(value, key)
    return transcript(value) if isinstance(value, str) and value.startswith("\n\nHuman:") else None


def prompt_of_text(text: str) -> Prompt:
    """Returns the turns of a prompt given as text: those of a transcript, or else one user turn.

    An empty Assistant turn at the end of a transcript is removed.
    """
    turns = conversation_or_none(text, "prompt") or (Message("user", text),)
    return turns[:-1] if turns[-1] == Message("assistant", "") else turns


def transcript(text: str) -> Prompt:
    """Returns the turns of a transcript; empty if `text` does not begin with a turn marker."""
    before, *parts = _MARKER.split("\n\n" + text.lstrip())
    if before:
        return ()
    return tuple(
        Message(_ROLE_OF_MARKER[marker], content.removeprefix(" "))
        for marker, content in zip(parts[::2], parts[1::2], strict=True)
    )


def messages(value: Any, key: str) -> Prompt:
    """Returns the turns of a list of chat messages, each `{"role", "content"}`."""
    if not isinstance(value, list) or not value:
        raise InputError(f'"{key}" must be a list of at least one {{"role", "content"}}, found {values.kind(value)}')
    turns = []
    for entry in value:
        if not isinstance(entry, dict) or not {"role", "content"} <= entry.keys():
            raise InputError(f'every message of "{key}" must be {{"role", "content"}}, found {values.kind(entry)}')
        role = values.text(entry["role"], f"{key}.role")
        if role not in _MARKER_OF_ROLE:
            raise InputError(f'the role of a message must be system, user or assistant, found {role!r} in "{key}"')
        # Decoded JSON has a new string for every role; interned, all turns share one.
        turns.append(Message(sys.intern(role), values.text(entry["content"], f"{key}.content")))
    return tuple(turns)


def role_record(record: list) -> tuple[Prompt, tuple[str, ...]]:
    """Returns the prompt of an array of `{"text", "role"}`, up to the last prompter, and the answers after it."""
    turns = []
    for entry in record:
        if not isinstance(entry, dict) or entry.get("role") not in list(_ROLE_OF_RECORD) or "text" not in entry:
            raise InputError(
                'every entry of an array record must be {"text", "role": "prompter" or "assistant"}, found '
                + (json.dumps(entry)[:80] if isinstance(entry, dict) else values.kind(entry))
                + "; a file that is one array of records needs one record on each line instead"
            )
        turns.append(Message(_ROLE_OF_RECORD[entry["role"]], values.text(entry["text"], "text")))
    end = max((i + 1 for i, turn in enumerate(turns) if turn.role == "user"), default=0)
    if not 0 < end < len(turns):
        raise InputError(
            "an array record contains the prompter's turns first and then the assistant's answers, best first"
        )
    return tuple(turns[:end]), tuple(turn.content for turn in turns[end:])


def shared_prompt(chosen: Prompt, rejected: Prompt) -> tuple[Prompt, tuple[str, str]]:
    """Splits two conversations into their common prompt and a response each.

    If they diverge before their last turn, or have two assistant turns in a row, a response contains the further turns
    too, with their markers.
    """
    for key, turns in (("chosen", chosen), ("rejected", rejected)):
        _require_answer(turns, key)
    common = 0
    while common < min(len(chosen), len(rejected)) and chosen[common] == rejected[common]:
        common += 1
    for end in range(common, 0, -1):
        if chosen[end - 1].role == "user" and chosen[end].role == rejected[end].role == "assistant":
            return chosen[:end], (rendered(chosen[end:], "chosen"), rendered(rejected[end:], "rejected"))
    raise InputError(
        '"chosen" and "rejected" have no opening user turn in common that the assistant answers in both, so there is '
        "no prompt"
    )


def split_answer(turns: Prompt, key: str) -> tuple[Prompt, str]:
    """Splits a conversation before its last run of assistant turns."""
    _require_answer(turns, key)
    start = len(turns)
    while start and turns[start - 1].role == "assistant":
        start -= 1
    return turns[:start], rendered(turns[start:], key)


def every_answer(turns: Prompt, key: str) -> list[tuple[Prompt, str]]:
    """Returns every run of assistant turns as a response to the turns before it."""
    ends = [
        end
        for end in range(1, len(turns) + 1)
        if turns[end - 1].role == "assistant" and (end == len(turns) or turns[end].role != "assistant")
    ]
    if not ends:
        raise InputError(f'"{key}" has no assistant turn, so there is nothing to imitate')
    return [split_answer(turns[:end], key) for end in ends]


def continuation(prompt: Prompt, value: Any, key: str) -> str:
    """Returns the text of a response given as text, as chat messages, or as a conversation that repeats the prompt.

    Many files and programs repeat the prompt in the conversation; it is not a part of the response.
    """
    turns = conversation_or_none(value, key)
    if turns is not None and repeats(prompt, turns):
        return rendered(turns[len(prompt) :], key)
    return rendered(turns, key) if turns and isinstance(value, list) else values.text(value, key)


def repeats(prompt: Prompt, turns: Prompt) -> bool:
    """Returns True if a conversation begins with the prompt and goes on."""
    return turns[: len(prompt)] == prompt and len(turns) > len(prompt)


def rendered(turns: Prompt, key: str) -> str:
    """Returns the text of a response: one assistant turn, or several turns with the markers between them."""
    if turns[0].role != "assistant":
        raise InputError(f'"{key}" continues the prompt with a {turns[0].role} turn: a response is an assistant turn')
    rest = (f"\n\n{_MARKER_OF_ROLE[turn.role]}: {turn.content}" for turn in turns[1:])
    return turns[0].content + "".join(rest)


def _require_answer(turns: Prompt, key: str) -> None:
    if turns[-1].role != "assistant":
        marker = _MARKER_OF_ROLE[turns[-1].role]
        raise InputError(f'"{key}" ends with a {marker} turn: its last turn must be the response, an Assistant turn')
