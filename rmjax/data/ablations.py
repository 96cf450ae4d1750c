"""Ablations of training comparisons: fewer responses, separate pairs, noisier raters."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Sequence

from rmjax.data.comparisons import Comparison, ranks_from_scores
from rmjax.data.hashing import hash_uniform
from rmjax.errors import InputError

PAIRS = ("together", "apart")
NEGLIGIBLE = ("judged", "tied")


def first_responses(comparisons: Sequence[Comparison], count: int) -> list[Comparison]:
    """Returns every comparison with its first `count` responses and their ranking; those with fewer are unchanged.

    Raises:
        InputError: `count` is below 2.
    """
    if count < 2:
        raise InputError(f"a comparison needs at least two responses, so it cannot be cut to {count}")
    return [_restrict(c, tuple(range(count))) if len(c.responses) > count else c for c in comparisons]


def split_into_pairs(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Returns every pair of every comparison as a separate comparison, in order.

    A comparison of K responses then has the weight K(K-1)/2 instead of 1, and its pairs are in different batches.
    InstructGPT (2203.02155, section 3.5) found that one epoch of this overfits.
    """
    return [
        _restrict(comparison, indices)
        for comparison in comparisons
        for indices in itertools.combinations(range(len(comparison.responses)), 2)
    ]


def flip_labels(comparisons: Sequence[Comparison], share: float) -> list[Comparison]:
    """Returns the comparisons with the ranking of a `share` of them reversed: the best response becomes the worst.

    They are chosen by a hash of prompt and responses, so a larger share flips the same ones and more. Ratings are
    mirrored at the middle of their range, so that they still agree with the ranks; strengths do not change.

    Raises:
        InputError: `share` is not in [0, 1/2).
    """
    if not 0 <= share < 0.5:
        raise InputError(f"the share of flipped labels must be in [0, 0.5), found {share}")
    return [_reversed(comparison) if _hash(comparison) < share else comparison for comparison in comparisons]


def negligible_as_ties(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Returns the comparisons with every negligible preference changed to a tie, as if raters could choose a tie.

    Raises:
        InputError: a comparison has more than two responses ("almost equal" is not transitive), or no strength.
    """
    result = []
    for comparison in comparisons:
        if len(comparison.responses) > 2 or comparison.strengths is None:
            raise InputError(
                f"{comparison.origin}: data.negligible=tied needs pairs with a strength; set data.responses=2, or "
                "data.pairs=apart, if comparisons have more than two responses"
            )
        if comparison.strengths == ("negligibly_better",):
            middle = None if comparison.scores is None else (sum(comparison.scores) / 2,) * 2
            comparison = dataclasses.replace(comparison, ranks=(1, 1), scores=middle)
        result.append(comparison)
    return result


def shift_ratings(comparisons: Sequence[Comparison], std: float) -> list[Comparison]:
    """Returns the comparisons with a normal random number added to all ratings of each, as if raters had different
    scales.

    The ranks do not change, since one rater judged all responses of a comparison.

    Raises:
        InputError: `std` is negative.
    """
    if std < 0:
        raise InputError(f"the standard deviation of the raters' zero points must not be negative, found {std}")
    normal = statistics.NormalDist()
    result = []
    for comparison in comparisons:
        if std and comparison.scores is not None:
            shift = std * normal.inv_cdf(max(_hash(comparison, "rater"), 1e-12))
            comparison = dataclasses.replace(comparison, scores=tuple(s + shift for s in comparison.scores))
        result.append(comparison)
    return result


def _restrict(comparison: Comparison, indices: tuple[int, ...]) -> Comparison:
    """Returns the comparison restricted to the responses with these indices, in ascending order."""
    pairs = [
        pair
        for pair, (i, j) in enumerate(itertools.combinations(range(len(comparison.responses)), 2))
        if i in indices and j in indices
    ]

    def of(values: tuple | None, chosen: Sequence[int]) -> tuple | None:
        return None if values is None else tuple(values[i] for i in chosen)

    return dataclasses.replace(
        comparison,
        responses=tuple(comparison.responses[i] for i in indices),
        ranks=ranks_from_scores(tuple(-comparison.ranks[i] for i in indices)),
        scores=of(comparison.scores, indices),
        unsafe=of(comparison.unsafe, indices),
        utilities=of(comparison.utilities, indices),
        strengths=of(comparison.strengths, pairs),
        margins=of(comparison.margins, pairs),
    )


def _reversed(comparison: Comparison) -> Comparison:
    scores = comparison.scores
    if scores is not None:
        middle = max(scores) + min(scores)
        scores = tuple(middle - score for score in scores)
    # From the mirrored ratings, if any: rounding may have made almost equal ones equal.
    ranks = ranks_from_scores(comparison.ranks if scores is None else scores)
    # The labels no longer follow the utilities.
    return dataclasses.replace(comparison, ranks=ranks, scores=scores, utilities=None)


def _hash(comparison: Comparison, purpose: str = "") -> float:
    """Returns a number in [0, 1) that is always the same for a comparison and a purpose."""
    return hash_uniform("\n".join([purpose, *(turn.content for turn in comparison.prompt), *comparison.responses]))
