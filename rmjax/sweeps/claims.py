"""Verdicts on the published claims that a sweep tests."""

from __future__ import annotations

import math

from rmjax.sweeps.power import detectable
from rmjax.sweeps.results import SweepResults
from rmjax.sweeps.rows import UNITS, Measure
from rmjax.sweeps.settings import Claim
from rmjax.sweeps.statistics import all_equal
from rmjax.sweeps.tables import Interval, difference, difference_in_words

REPRODUCED, SMALLER, ABSENT, NOT_TOLD = "reproduced", "smaller", "absent", "not told"
HEADER = ["claim", "measure", "published", "smallest detectable", "found", "verdict"]


def claim_table(results: SweepResults) -> list[list[str]]:
    """Returns header and lines: a line for every claim of the sweep.

    The smallest detectable difference is in points, and a dash for measures other than accuracy.
    """
    measures = {measure.title: measure for measure in results.measures}
    smallest = detectable(results.sweep)
    lines = [HEADER]
    for claim in results.sweep.claims:
        measure = measures[claim.measure]
        found = difference(results.rows, claim.at, claim.reference, claim.measure)
        lines.append(
            [
                claim.text,
                measure.heading,
                published_in_words(claim, measure),
                f"{100 * smallest:.1f}" if smallest is not None and measure.path == "accuracy" else "-",
                difference_in_words(found, measure.unit),
                verdict(claim, found),
            ]
        )
    return lines


def verdict(claim: Claim, found: Interval) -> str:
    """Returns `reproduced`, `smaller`, `absent` or `not told`, by the 95 % interval of the difference.

    A claim of an effect is reproduced if the interval excludes zero on the side of the effect, and does not exclude all
    effects as large as the published one. If it excludes both, the effect is smaller. If it excludes the published
    effect and all larger ones, but not zero, the effect is absent. A claim that there is no effect larger than a margin
    is reproduced if the interval lies within the margin on both sides, and absent if it lies outside.

    Args:
        claim: the claim.
        found: the difference and its interval. Without one, or if all seeds have the same difference, nothing is told.
    """
    if not found.n or math.isnan(found.low) or all_equal(found):
        return NOT_TOLD
    size = abs(claim.effect)
    if claim.equal:
        if -size < found.low and found.high < size:
            return REPRODUCED
        return ABSENT if found.low > size or found.high < -size else NOT_TOLD
    low, high = (found.low, found.high) if claim.effect > 0 else (-found.high, -found.low)
    if low > 0:
        return REPRODUCED if high >= size else SMALLER
    return ABSENT if high < size else NOT_TOLD


def published_in_words(claim: Claim, measure: Measure) -> str:
    """Returns the effect of a claim in the unit of its measure."""
    size, digits = UNITS[measure.unit] * claim.effect, 1 if measure.unit == "%" else 3
    text = f"within ±{abs(size):.{digits}f}" if claim.equal else f"{size:+.{digits}f}"
    return text if claim.published else f"no number; {text} is of interest"
