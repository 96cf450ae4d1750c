"""Tables in plain text and Markdown, and the text of their cells: percentages, differences, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells in aligned columns.

    Example:
        >>> print(text_table([("", "accuracy"), ("helpful", "70.0 %")]))
                 accuracy
        helpful  70.0 %
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as a table in Markdown; the first row is its header.

    Example:
        >>> print(markdown_table([("a", "b"), ("1", "2")]))
        | a | b |
        | --- | --- |
        | 1 | 2 |
    """
    header, *rest = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rest])


def percent(value: float | None) -> str:
    """Returns a fraction in percent, or a dash if it is undefined.

    Example:
        >>> percent(0.125), percent(None)
        ('12.5 %', '-')
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def points(value: float) -> str:
    """Returns a difference of fractions in percentage points.

    Example:
        >>> points(0.125)
        '+12.5'
    """
    return f"{100 * value:+.1f}"


def number(value: float | None) -> str:
    """Returns a number with three decimals, or a dash if it is undefined.

    Example:
        >>> number(0.6931)
        '0.693'
    """
    return "-" if value is None else f"{value:.3f}"


def mean_text(mean: float, error: float | None) -> str:
    """Returns a mean and its standard error, or the mean alone if a single value gives none (None or NaN).

    Example:
        >>> mean_text(0.25, 0.125), mean_text(0.25, None), mean_text(0.25, math.nan)
        ('0.25 ± 0.12', '0.25', '0.25')
    """
    return f"{mean:.2f}" if error is None or math.isnan(error) else f"{mean:.2f} ± {error:.2f}"


def interval_text(
    interval: Sequence[float] | None, template: str = "{}", *, form: str = ".1f", scale: float = 100.0
) -> str:
    """Returns the text of an interval, or an empty text if there is none (None or NaN).

    Args:
        interval: low and high end.
        template: text with `{}` in place of "LOW to HIGH".
        form: format of an end.
        scale: factor of an end, by default 100 for fractions in percent.

    Example:
        >>> interval_text([0.5, 0.75], ", 95 % interval {}"), interval_text(None)
        (', 95 % interval 50.0 to 75.0', '')
    """
    if interval is None or any(map(math.isnan, interval)):
        return ""
    return template.format(" to ".join(f"{scale * end:{form}}" for end in interval))


def comparison_word(interval: Sequence[float], reference: float = 0.0) -> str:
    """Returns how a value with this interval compares with a reference; an interval of NaN decides nothing.

    Example:
        >>> comparison_word([0.1, 0.3]), comparison_word([0.4, 0.6], 0.5)
        ('better than', 'not distinguishable from')
    """
    low, high = interval
    return "better than" if low > reference else "worse than" if high < reference else "not distinguishable from"
