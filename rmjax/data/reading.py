"""Limits and options of the reading of data files. docs/data.md lists what is refused and what is counted."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

from rmjax.errors import InputError, printable

EXTRA_KEYS = ("check", "ignore")
# The keys of records that have a meaning; `rmjax.data.records` describes them.
KEYS = (
    "prompt", "chosen", "rejected", "responses", "ranks", "scores", "response", "messages",
    "strength", "margin", "unsafe", "head", "subset",
)  # fmt: skip
# gzip shrinks texts to a tenth. A file that grows by more than this factor beyond this size is made to fill memory.
EXPANSION, SMALL = 100, 32 * 2**20

_WORD = re.compile(r"[A-Za-z]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Limits of a data file; a file beyond one is refused.

    Attributes:
        extra_keys: `check` refuses a key that is not read if it is likely a misspelling of a known one; `ignore`
            counts it, as other keys that are not read.
        max_line_bytes: of a line of JSON.
        max_file_bytes: of a file after decompression.
        max_depth: objects and lists inside each other.
        max_responses: responses of a record, or turns of an array.
        columns: names of columns that are read as keys, as in `prompt=question,chosen=better,rejected=worse`.
    """

    extra_keys: str = "check"
    max_line_bytes: int = 2**24
    max_file_bytes: int = 2**36
    max_depth: int = 64
    max_responses: int = 1024
    columns: str = ""

    def __post_init__(self) -> None:
        if self.extra_keys not in EXTRA_KEYS:
            raise InputError(f"extra_keys must be one of {', '.join(EXTRA_KEYS)}, found {self.extra_keys!r}")
        for field in dataclasses.fields(Reading):
            if field.type == "int" and getattr(self, field.name) < 1:
                raise InputError(f"{field.name} must be at least 1, found {getattr(self, field.name)}")
        _column_of(self.columns)

    @property
    def column_of(self) -> dict[str, str]:
        """Key -> name of the column that is read as this key."""
        return _column_of(self.columns)

    def reading(self) -> Reading:
        """Returns these fields alone, without those of a subclass."""
        return Reading(**self.limits())

    def limits(self) -> dict[str, Any]:
        """Returns these fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Reading)}

    def renamed(self, record: Any) -> Any:
        """Returns a record with the columns that `columns` names under the keys that they are read as.

        Raises:
            InputError: the record is no object, or has no such column.
        """
        if not self.columns:
            return record
        column_of = self.column_of
        found = list(record) if isinstance(record, dict) else []
        for key, column in column_of.items():
            if column not in found:
                raise InputError(
                    f'there is no column "{printable(column)}", which columns reads as "{key}"; found '
                    f"{', '.join(map(printable, found)) or 'an array'}"
                )
        # A column whose name is now the key of another one stays, so that it is counted as not read.
        rest = {
            f"{column} (column)" if column in column_of else column: value
            for column, value in record.items()
            if column not in column_of.values()
        }
        return {key: record[column] for key, column in column_of.items()} | rest

    def most_bytes(self, compressed: int | None) -> int:
        """Returns the limit of a file; `compressed` is its size on disk if it is compressed."""
        return (
            self.max_file_bytes if compressed is None else min(self.max_file_bytes, max(SMALL, EXPANSION * compressed))
        )


@functools.lru_cache
def _column_of(columns: str) -> dict[str, str]:
    """Returns key -> name of its column.

    Raises:
        InputError: the text is not KEY=COLUMN,KEY=COLUMN, or names an unknown key, or a key or column twice.
    """
    parts = [part.partition("=") for part in columns.split(",")] if columns else []
    for key, equals, column in parts:
        if not (equals and column):
            raise InputError(f"columns is written as in prompt=question,chosen=better, found {columns!r}")
        if key not in KEYS:
            raise InputError(f"columns names the key {key!r}: known are {', '.join(KEYS)}")
    found = {key: column for key, _, column in parts}
    if len(set(found.values())) < len(parts):
        raise InputError(f"columns names a key or a column twice: {columns!r}")
    return found


DEFAULT = Reading()


def misspelled(key: str, known: set[str], present: set[str]) -> str | None:
    """Returns the known key that `key` likely misspells, or None.

    It has at most one letter more, less or changed, or two neighbours exchanged (two such changes for keys of seven
    letters and more), and the record does not have the known key. Keys with a digit, a line or a space are names of
    other columns, such as `response_a`.

    Example:
        >>> misspelled("strenght", {"strength", "chosen"}, {"chosen"})
        'strength'
        >>> misspelled("prompt_id", {"prompt"}, {"prompt_id"})
    """
    if key in known or not _WORD.fullmatch(key):
        return None
    near = {name: _changes(key.lower(), name) for name in known - present if abs(len(name) - len(key)) < 3}
    allowed = [name for name, changes in near.items() if changes <= (1 if len(name) < 7 else 2)]
    return min(allowed, key=lambda name: (near[name], name), default=None)


def _changes(found: str, name: str) -> int:
    """Returns the number of letters to insert, delete, change, or exchange with their neighbour (Damerau)."""
    before, row = [0] * (len(name) + 1), list(range(len(name) + 1))
    for i, letter in enumerate(found, start=1):
        older, before, row = before, row, [i]
        for j, other in enumerate(name, start=1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == name[j - 2] and found[i - 2] == other:
                best = min(best, older[j - 2] + 1)
            row.append(best)
    return row[-1]
