"""Files of JSON lines, one record per line, gzipped or not; every error names file and line."""

from __future__ import annotations

import collections
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.data.records import Texts, parse_comparison, parse_demonstrations, parse_scoring, remarks
from rmjax.errors import InputError

Parsed = TypeVar("Parsed")


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


def read_scoring(path: str | os.PathLike) -> list[Texts]:
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
