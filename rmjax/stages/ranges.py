"""Checks of the values of settings."""

from __future__ import annotations

import math
from typing import Any

from rmjax.errors import InputError


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises InputError unless the value is a known one."""
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(each or 'empty' for each in known)}, found {value!r}")


def at_least(name: str, value: float, least: float) -> None:
    """Raises InputError if the value is too small."""
    if value < least:
        raise InputError(f"{name} must be at least {least}, found {value}")


def not_negative(settings: Any, *names: str) -> None:
    """Raises InputError unless these fields are finite and not negative."""
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise InputError(f"{name} must not be negative, found {getattr(settings, name)}")
