"""Typed settings from nested dicts, and back: unknown, missing and mistyped fields are named in the error."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from rmjax.errors import InputError, renamed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def parse(kind: type[Settings], values: Mapping[str, Any], path: str = "") -> Settings:
    """Returns an instance of a dataclass, its nested dataclasses included, from a nested mapping.

    A class with a classmethod `from_dict` parses itself. A message of `__post_init__` begins with the name of the
    field, so the path in front of it gives the full name.

    Args:
        kind: the dataclass.
        values: its fields by name.
        path: name of the part, with a dot at the end; empty for the whole configuration.

    Raises:
        InputError: a field is unknown, missing, of another type, or out of its range.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{path.rstrip('.')} must be a group of fields, found {values!r}")
    try:
        from_dict = getattr(kind, "from_dict", None)
        if from_dict is not None:
            return from_dict(values)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        hints = typing.get_type_hints(kind)
        _check_names(fields, values, path)
        parsed = {}
        for name, value in values.items():
            hint = hints[name]
            if isinstance(hint, type) and dataclasses.is_dataclass(hint):
                parsed[name] = parse(hint, value, f"{path}{name}.")
            else:
                parsed[name] = _convert(hint, value, path + name)
        return kind(**parsed)
    except InputError as error:
        message = str(error)
        if error.located or (path and message.startswith(path)):
            raise
        raise _located(f"{path}{message}") from None


def _located(message: str) -> InputError:
    """Returns an error whose message has the full name of the field."""
    error = InputError(message)
    error.located = True
    return error


def plain_dict(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration as nested dicts; it may be an `ml_collections.ConfigDict`."""
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)


def to_dict(settings: Any) -> dict[str, Any]:
    """Returns the nested dict of which `parse` makes the settings again."""
    if hasattr(settings, "to_dict"):
        return settings.to_dict()
    return {
        field.name: to_dict(value) if dataclasses.is_dataclass(value) else value
        for field in dataclasses.fields(settings)
        for value in [getattr(settings, field.name)]
    }


def _check_names(fields: Mapping[str, dataclasses.Field], values: Mapping[str, Any], path: str) -> None:
    for name in values:
        if name not in fields:
            close = difflib.get_close_matches(name, fields, n=1)
            hint = f": did you mean {path}{close[0]}?" if close else f": known are {', '.join(fields)}"
            raise _located(renamed(path + name) or f"this configuration has no field {path}{name}{hint}")
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise _located(f"the configuration lacks the field {path}{name}")


def _convert(hint: Any, value: Any, name: str) -> Any:
    """Returns the value as the type of its field; integers pass for floats, and lists for tuples."""
    if typing.get_origin(hint) is tuple:
        (item, _) = typing.get_args(hint)
        if isinstance(value, list | tuple) and all(isinstance(each, item) for each in value):
            return tuple(value)
        raise _located(f"{name} must be a list of {item.__name__}, found {value!r}")
    if isinstance(hint, types.UnionType) or not isinstance(hint, type):
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint and not (hint not in (int, float, bool) and isinstance(value, hint)):
        raise _located(f"{name} must be of type {hint.__name__}, found {value!r}")
    return value
