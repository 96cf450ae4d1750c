"""Type checks of single values of decoded JSON; every error names the key and the value found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rmjax.errors import InputError, printable

Value = TypeVar("Value")

LARGEST = 1e15  # ratings and margins; the square of a larger number is soon beyond float32


def text(value: Any, key: str) -> str:
    """Returns a text that can be encoded as UTF-8."""
    if not isinstance(value, str):
        raise InputError(f'"{key}" must be text, found {kind(value)}')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f'"{key}" holds half of a surrogate pair (as in "\\ud83d"), which is not a character'
        ) from None
    return value


def label(value: Any, key: str) -> str:
    """Returns a text that is not empty and has no control characters: it is a name, and is printed."""
    if not text(value, key):
        raise InputError(f'"{key}" is an empty string: leave it out instead')
    if not value.isprintable():
        raise InputError(f'"{key}" holds a control character, found {printable(value)!r}')
    return value


def whole(value: Any, key: str) -> int:
    """Returns an integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f'"{key}" must hold whole numbers, found {kind(value)}')
    return value


def number(value: Any, key: str) -> float:
    """Returns a finite number of at most `LARGEST` in size."""
    # The comparison is false for NaN, and exact for an integer beyond the range of a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise InputError(f'"{key}" must hold finite numbers, found {kind(value)}; the largest is {LARGEST:.0e}')
    return float(value)


def boolean(value: Any, key: str) -> bool:
    """Returns `true` or `false`; 0 and 1 are numbers."""
    if not isinstance(value, bool):
        raise InputError(f'"{key}" must hold true or false, found {kind(value)}')
    return value


def each(convert: Callable[[Any, str], Value], value: Any, key: str) -> tuple[Value, ...]:
    """Returns the entries of a list, each converted by `convert(entry, key)`."""
    if not isinstance(value, list):
        raise InputError(f'"{key}" must be a list, found {kind(value)}')
    return tuple(convert(entry, key) for entry in value)


def kind(value: Any) -> str:
    """Returns a description of a value for an error message."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (int, float)):
        shown = str(value)
        return f"the number {shown if len(shown) <= 24 else shown[:21] + '...'}"
    names: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
