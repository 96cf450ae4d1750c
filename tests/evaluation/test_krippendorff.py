"""Krippendorff's alpha against the published example and hand arithmetic."""

import math

import pytest

from rmjax.evaluation.krippendorff import interval, krippendorff_alpha, nominal

# Example C of Krippendorff (2011): four observers, twelve units, missing values; it states 0.743 and 0.849.
TABLE = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]
UNITS = {u: [int(v) for v in column if v != "."] for u, column in enumerate(zip(*map(str.split, TABLE), strict=True))}


@pytest.mark.parametrize(("distance", "alpha"), [(nominal, 0.743), (interval, 0.849)])
def test_the_published_example(distance, alpha):
    assert krippendorff_alpha(UNITS, distance) == pytest.approx(alpha, abs=5e-4)


def test_two_raters_by_hand():
    # Values 1 1 | 1 -1 | -1 -1: D_o = (0 + 2 · 4 + 0) / 6, D_e = 3 · 3 · 2 · 4 / 30.
    alpha = krippendorff_alpha({"a": [1, 1], "b": [1, -1], "c": [-1, -1]}, interval)
    assert math.isclose(alpha, 1 - (8 / 6) / (72 / 30))


def test_opposite_raters_disagree_more_than_chance():
    assert krippendorff_alpha({i: [1, -1] for i in range(50)}, interval) == pytest.approx(1 - 99 / 50)


@pytest.mark.parametrize("units", [{}, {"a": [1]}, {"a": [2, 2], "b": [2, 2]}])
def test_no_alpha_is_defined_without_pairs_or_without_variation(units):
    assert krippendorff_alpha(units) is None
