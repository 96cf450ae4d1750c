"""The file of judgements: comparisons that train as they are, each on the disk before the next is asked for.

A judgement of a person is a line for every head:

    {"prompt", "responses", "ranks", "strength", "unsafe", "head", "rater", "item", "time"}

Training reads the first six keys, and names the other three in its audit.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from rmjax.data.jsonl import read_jsonl
from rmjax.data.reading import Reading
from rmjax.data.records import parse_comparison
from rmjax.durable import sync
from rmjax.errors import InputError

Record = dict[str, Any]


class Journal:
    """A file of judgements that this process alone appends to.

    Args:
        path: the file; it is made if it does not exist.

    Attributes:
        records: all lines, oldest first.
        repaired: bytes of an incomplete last line that were removed: a judgement that was never confirmed.

    Raises:
        InputError: the file cannot be opened, is in use, or holds other records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: IO[bytes] = path.open("ab+")
        except OSError as error:
            raise InputError(f"--output={path} cannot be opened ({error.strerror}): name another file") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another process writes to {path}: give every rater a file, and compare them") from None
        sync(path.parent)
        self.repaired = self._remove_incomplete_line()
        self.records = read_judgements(path) if path.stat().st_size else []

    def append(self, records: Sequence[Record]) -> None:
        """Appends the lines of one judgement in one write, and returns when the disk has them.

        Raises:
            InputError: a record is no comparison.
        """
        for record in records:
            parse_comparison(record)
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        before = os.fstat(self._file.fileno()).st_size
        try:
            self._file.write(content)
            self._flush()
        except OSError as error:  # such as a full disk: no part of the judgement may stay
            os.ftruncate(self._file.fileno(), before)
            raise InputError(f"{self.path} cannot be written ({error.strerror}): the judgement is not saved") from None
        self.records.extend(records)

    def remove_last(self, rater: str) -> str | None:
        """Removes the last judgement if it is this rater's; returns its item, or None if there is none to remove."""
        if not self.records or self.records[-1]["rater"] != rater:
            return None
        last = self.records[-1]
        count = 0
        while count < len(self.records) and _same(self.records[-1 - count], last):
            count += 1
        lines = self.path.read_bytes().splitlines(keepends=True)
        os.ftruncate(self._file.fileno(), sum(map(len, lines[:-count])))
        self._flush()
        del self.records[-count:]
        return last["item"]

    def close(self) -> None:
        """Closes the file, so that another process can write to it."""
        self._file.close()

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _remove_incomplete_line(self) -> int:
        content = self.path.read_bytes()
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            os.ftruncate(self._file.fileno(), complete)
            self._flush()
        return len(content) - complete


def read_judgements(path: Path) -> list[Record]:
    """Returns the lines of a file of judgements.

    Raises:
        InputError: it holds other records.
    """
    records = []
    for number, record in read_jsonl(path, Reading(extra_keys="ignore")):
        parse_comparison(record, f"{path}:{number}")
        if missing := {"rater", "item", "head"} - record.keys():
            raise InputError(
                f"{path}:{number}: no judgement of experiments/label.py, since {min(missing)!r} is missing"
            )
        records.append(record)
    return records


def _same(record: Record, other: Record) -> bool:
    """Returns True for two lines of one judgement."""
    return all(record.get(key) == other.get(key) for key in ("rater", "item", "time"))
