"""JSON-lines files, one record per line, gzipped or not; every error names file and line."""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator
from typing import Any

from rmjax.data.files import require_regular
from rmjax.data.reading import DEFAULT, Reading
from rmjax.errors import InputError


def file_path(path: str | os.PathLike) -> str:
    """Returns the path of a file to read; `-` is standard input, and `~` the home directory."""
    return "/dev/stdin" if path == "-" else os.path.expanduser(os.fspath(path))


def read_jsonl(path: str | os.PathLike, reading: Reading = DEFAULT) -> Iterator[tuple[int, Any]]:
    """Yields (line number, record) of a file of JSON lines; a file whose name ends with `.gz` is gzipped.

    Blank lines are skipped. NaN, Infinity, numbers beyond a float's range, keys that occur twice and halves of
    surrogate pairs, which Python's decoder accepts, are errors.

    Raises:
        InputError: the file is missing, a directory, a FIFO, a device, unreadable, broken, beyond a limit of `reading`,
            or has no records.
    """
    path, count = file_path(path), 0
    for number, text in _numbered_lines(path, reading):
        count += 1
        try:
            record = decoded_json(text, f"{path}:{number}", reading)
        except InputError as error:
            hint = "; write one JSON record on each line, or name a CSV file as csv:FILE" if count == 1 else ""
            raise InputError(f"{error}{hint}") from None
        yield number, record
    if not count:
        raise InputError(f"{path}: has no records, expected one JSON record per line")


def read_lines(path: str | os.PathLike, reading: Reading = DEFAULT) -> Iterator[str]:
    """Yields the lines of a text file that are not blank, without spaces around them, gzipped or not as `read_jsonl`.

    Raises:
        InputError: as `read_jsonl`, or the file has only blank lines.
    """
    path, count = file_path(path), 0
    for _, text in _numbered_lines(path, reading):
        count += 1
        yield text.strip()
    if not count:
        raise InputError(f"{path}: has no text, expected one prompt per line")


def _numbered_lines(path: str, reading: Reading) -> Iterator[tuple[int, str]]:
    """Yields (line number, text) of every line that is not blank."""
    require_regular(path)
    opened = gzip.open if path.endswith(".gz") else open
    number = size = 0
    try:
        with opened(path, "rb") as lines:
            most = reading.most_bytes(os.path.getsize(path) if path.endswith(".gz") else None)
            while line := lines.readline(reading.max_line_bytes + 1):
                number, size = number + 1, size + len(line)
                if len(line) > reading.max_line_bytes:
                    raise InputError(
                        f"{path}:{number}: the line has more than max_line_bytes={reading.max_line_bytes} bytes"
                    )
                if size > most:
                    raise InputError(f"{path}:{number}: the file has more than {most} bytes; see max_file_bytes")
                if line.isspace():
                    continue
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


def jsonl_records(path: str | os.PathLike, reading: Reading = DEFAULT) -> Iterator[tuple[str, Any]]:
    """Yields (origin, record) for every record of `read_jsonl`; the origin is "FILE:LINE"."""
    for number, record in read_jsonl(path, reading):
        yield f"{file_path(path)}:{number}", record


def _decoded(line: bytes, origin: str) -> str:
    try:
        return line.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: not UTF-8 text (byte {error.start + 1} of the line)") from None


def decoded_json(text: str, origin: str, reading: Reading = DEFAULT) -> Any:
    """Returns the value of a JSON text.

    Raises:
        InputError: it is not JSON, or has a key twice, a number that is not finite, half of a surrogate pair, or more
            than `reading.max_depth` levels.
    """
    try:
        record = json.loads(text, parse_constant=_no_number, parse_float=_float, object_pairs_hook=_object)
        if text.count("[") + text.count("{") > reading.max_depth:
            _check_depth(record, reading.max_depth)
        if "\\u" in text:  # only an escape can be half of a pair
            json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        reason = 'it holds half of a surrogate pair, as in "\\ud83d", which is not a character'
    except (ValueError, RecursionError) as error:
        reason = str(error)
    else:
        return record
    raise InputError(f"{origin}: not a JSON record ({reason})")


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is beyond the range of a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} occurs twice in an object")
    return found


def _check_depth(record: Any, most: int) -> None:
    """Raises ValueError if more than `most` objects and lists are inside each other."""
    level, depth = [record], 0
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        if depth > most:
            raise ValueError(f"more than max_depth={most} objects and lists are inside each other")
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
