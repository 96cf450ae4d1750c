"""Flags for the limits and options of data files, the fields of `config.data` in the scripts that have no config."""

from __future__ import annotations

from absl import flags

from rmjax.data.reading import DEFAULT, EXTRA_KEYS, Reading

LIMITS = {
    "max_line_bytes": "Most bytes of a line of the input.",
    "max_file_bytes": "Most bytes of an input file after decompression.",
    "max_depth": "Most objects and lists inside each other in a record.",
    "max_responses": "Most responses of a record.",
}


def define(extra_keys: str = DEFAULT.extra_keys) -> None:
    """Defines the flags, with the default of --extra_keys: a script that reads no labels ignores other keys."""
    flags.DEFINE_enum(
        "extra_keys",
        extra_keys,
        list(EXTRA_KEYS),
        "check: a likely misspelling of a known key is an error; ignore: it is counted, as other keys not read.",
    )
    flags.DEFINE_string(
        "columns", "", "Columns that are read as known keys, such as prompt=question,chosen=better,rejected=worse."
    )
    for name, text in LIMITS.items():
        flags.DEFINE_integer(name, getattr(DEFAULT, name), text, lower_bound=1)


def reading() -> Reading:
    """Returns the limits that the flags state."""
    return Reading(**{name: getattr(flags.FLAGS, name) for name in ("extra_keys", "columns", *LIMITS)})
