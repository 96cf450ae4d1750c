"""Prompts of a file: texts of a user, or records of JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmjax.data.comparisons import Message, Prompt
from rmjax.data.jsonl import file_path, read_jsonl, read_lines
from rmjax.data.reading import DEFAULT, Reading
from rmjax.data.records import parse_prompt


def read_prompts(path: str, reading: Reading = DEFAULT, *, text: bool = False) -> Iterator[tuple[Prompt, Any]]:
    """Yields every prompt, with the form of it that the file states.

    Args:
        path: JSON lines, gzipped or not; `.txt` for the text of a user on every line; `-` for standard input.
        reading: limits and options of the file.
        text: lines are texts of a user, whatever the ending.

    Raises:
        InputError: the file cannot be read, or a record has no prompt.
    """
    source = file_path(path)
    if text or source.endswith(".txt"):
        for line in read_lines(source, reading):
            yield (Message("user", line),), line
        return
    for number, record in read_jsonl(source, reading):
        prompt = parse_prompt(record, f"{source}:{number}", reading)
        given = record.get("prompt") if isinstance(record, dict) else None
        yield prompt, given if given is not None else [message._asdict() for message in prompt]
