"""Errors that a user can correct.

Everything that is wrong with an input (a file, a flag, a checkpoint) is raised as `InputError` with one sentence: what
is wrong, where, and what to do. The scripts print that sentence and exit with status 1. Any other exception is a defect
of rmjax and keeps its traceback.
"""

from __future__ import annotations

# Fields of the configuration that had another name in an earlier version.
RENAMED = {
    "loss.centring": "loss.center_coef",
    "loss.auxiliary": "loss.safety_coef",
}


class InputError(ValueError):
    """An input that cannot be used; the message is complete without a traceback.

    Attributes:
        located: the message begins with the full name of a field of the configuration.
    """

    located = False


def printable(text: str) -> str:
    """Returns a text for a terminal: every character without an image becomes its escape, such as \\x1b.

    Line breaks and tabs stay, as does the space of U+00A0 and the joiner of emojis.
    """
    kept = "\n\t\u00a0\u200d\ufe0f"
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode("ascii") for c in text)


def renamed(name: str) -> str | None:
    """Returns the message for a field of the configuration that had this name in an earlier version, or None."""
    return f"{name} is now {RENAMED[name]}: use the new name" if name in RENAMED else None
