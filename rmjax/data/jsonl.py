"""JSON-lines files, one record per line, gzipped or not; every error names file and line."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from typing import Any

from rmjax.errors import InputError


def file_path(path: str | os.PathLike) -> str:
    """Returns the path of a file to read; `-` is standard input."""
    return "/dev/stdin" if path == "-" else os.fspath(path)


def read_jsonl(path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
    """Yields (line number, record) of a file of JSON lines; a file whose name ends with `.gz` is gzipped.

    Blank lines are skipped. NaN and Infinity, which Python's decoder accepts, are errors: they are not JSON.

    Raises:
        InputError: the file is missing, a directory, unreadable, broken, or has no records.
    """
    path, count = file_path(path), 0
    for number, text in _numbered_lines(path):
        count += 1
        yield number, _loaded(text, f"{path}:{number}")
    if not count:
        raise InputError(f"{path}: has no records, expected one JSON record per line")


def read_lines(path: str | os.PathLike) -> Iterator[str]:
    """Yields the lines of a text file that are not blank, without spaces around them, gzipped or not as `read_jsonl`.

    Raises:
        InputError: the file is missing, a directory, unreadable, broken, or has only blank lines.
    """
    path, count = file_path(path), 0
    for _, text in _numbered_lines(path):
        count += 1
        yield text.strip()
    if not count:
        raise InputError(f"{path}: has no text, expected one prompt per line")


def _numbered_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields (line number, text) of every line that is not blank."""
    opened = gzip.open if path.endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                text = _decoded(line, f"{path}:{number}")
                if text.strip():
                    yield number, text
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory, expected a .jsonl or .jsonl.gz file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}:{number + 1}: not a complete gzip file ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def jsonl_records(path: str | os.PathLike) -> Iterator[tuple[str, Any]]:
    """Yields (origin, record) for every record of `read_jsonl`; the origin is "FILE:LINE"."""
    for number, record in read_jsonl(path):
        yield f"{file_path(path)}:{number}", record


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
