"""Agreement of raters beyond chance: Krippendorff's alpha."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Distance = Callable[[float, float], float]


def nominal(a: float, b: float) -> float:
    """0 for equal values, else 1."""
    return float(a != b)


def interval(a: float, b: float) -> float:
    """(a - b)²."""
    return (a - b) ** 2


def krippendorff_alpha(units: Mapping[Any, Sequence[float]], distance: Distance = nominal) -> float | None:
    """α = 1 - D_o / D_e: 1 for full agreement, 0 for that of chance, below 0 for less.

        D_o = (1/n) Σ_u Σ_{i≠j in u} δ(v_i, v_j) / (m_u - 1)
        D_e = (1 / (n (n - 1))) Σ_{i≠j} δ(v_i, v_j)

    where u are the units with m_u ≥ 2 values, and n is the number of their values.

    Args:
        units: unit -> the values that raters gave it; raters may have judged different units.
        distance: δ.

    Returns:
        α, or None if no unit has two values, or all values are equal.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability.

    Example:
        >>> krippendorff_alpha({"a": [1, 1], "b": [2, 2], "c": [1, 2]})  # n = 6, D_o = 1/3, D_e = 3/5
        0.4444444444444444
        >>> krippendorff_alpha({"a": [1, 1], "b": [1]}) is None
        True
    """
    paired = [values for values in units.values() if len(values) > 1]
    count = sum(map(len, paired))
    total = Counter(value for values in paired for value in values)
    observed = sum(_sum(Counter(values), distance) / (len(values) - 1) for values in paired)
    expected = _sum(total, distance)
    if not expected:
        return None
    return 1 - observed * (count - 1) / expected


def _sum(counts: Counter, distance: Distance) -> float:
    """Returns the sum of distances over all ordered pairs of different entries."""
    return sum(n * m * distance(a, b) for a, n in counts.items() for b, m in counts.items() if a != b)
