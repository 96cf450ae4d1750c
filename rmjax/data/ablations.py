"""Changes to training comparisons that ablations ask for: fewer responses, pairs on their own, worse raters."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import statistics
from collections.abc import Sequence

from rmjax.data.comparisons import Comparison, ranks_from_scores
from rmjax.errors import InputError

PAIRS = ("together", "apart")
NEGLIGIBLE = ("judged", "tied")


def first_responses(comparisons: Sequence[Comparison], count: int) -> list[Comparison]:
    """Every comparison with its first `count` responses, and the judgement among them; those with fewer as they are.

    Raises:
        InputError: `count` is below 2.
    """
    if count < 2:
        raise InputError(f"a comparison needs at least two responses, so it cannot be cut to {count}")
    return [_among(c, tuple(range(count))) if len(c.responses) > count else c for c in comparisons]


def split_into_pairs(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Every pair of every comparison as a comparison of its own, in their order.

    A comparison of K then weighs K(K-1)/2 instead of 1, and its pairs come in different batches. InstructGPT
    (2203.02155, section 3.5) found that a single epoch of that overfits.
    """
    return [
        _among(comparison, places)
        for comparison in comparisons
        for places in itertools.combinations(range(len(comparison.responses)), 2)
    ]


def flip_labels(comparisons: Sequence[Comparison], share: float) -> list[Comparison]:
    """The comparisons with the judgement of a `share` of them turned around: the best response becomes the worst.

    Which ones depends on a hash of prompt and responses, so a larger share flips the same ones and more. Ratings are
    mirrored at the middle of their range, so that they go on agreeing with the ranks; how strong a preference is stays.

    Raises:
        InputError: `share` is not in [0, 1/2).
    """
    if not 0 <= share < 0.5:
        raise InputError(f"the share of flipped labels must lie in [0, 0.5), found {share}")
    return [_turned(comparison) if _place(comparison) < share else comparison for comparison in comparisons]


def negligible_as_ties(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of two with every negligible preference turned into a tie, as raters do who may call one.

    Raises:
        InputError: a comparison of more than two, where being almost alike is not passed on from pair to pair, or one
            that states no strength.
    """
    result = []
    for comparison in comparisons:
        if len(comparison.responses) > 2 or comparison.strengths is None:
            raise InputError(
                f"{comparison.origin}: data.negligible=tied needs pairs with a strength; set data.responses=2, or "
                "data.pairs=apart, where comparisons have more than two responses"
            )
        if comparison.strengths == ("negligibly_better",):
            middle = None if comparison.scores is None else (sum(comparison.scores) / 2,) * 2
            comparison = dataclasses.replace(comparison, ranks=(1, 1), scores=middle)
        result.append(comparison)
    return result


def shift_ratings(comparisons: Sequence[Comparison], std: float) -> list[Comparison]:
    """The comparisons with the ratings of each moved by one normal number: raters differ in what they call good.

    The ranks stay, since one rater judged all responses of a comparison.

    Raises:
        InputError: `std` is negative.
    """
    if std < 0:
        raise InputError(f"the spread of the raters' zero points must not be negative, found {std}")
    normal = statistics.NormalDist()
    result = []
    for comparison in comparisons:
        if std and comparison.scores is not None:
            shift = std * normal.inv_cdf(max(_place(comparison, "rater"), 1e-12))
            comparison = dataclasses.replace(comparison, scores=tuple(s + shift for s in comparison.scores))
        result.append(comparison)
    return result


def _among(comparison: Comparison, places: tuple[int, ...]) -> Comparison:
    """The comparison reduced to the responses at `places`, which are in rising order."""
    kept = set(places)
    between = [
        pair
        for pair, (i, j) in enumerate(itertools.combinations(range(len(comparison.responses)), 2))
        if i in kept and j in kept
    ]

    def of(values: tuple | None, chosen: Sequence[int]) -> tuple | None:
        return None if values is None else tuple(values[i] for i in chosen)

    return dataclasses.replace(
        comparison,
        responses=of(comparison.responses, places),
        ranks=ranks_from_scores(tuple(-comparison.ranks[i] for i in places)),
        scores=of(comparison.scores, places),
        unsafe=of(comparison.unsafe, places),
        utilities=of(comparison.utilities, places),
        strengths=of(comparison.strengths, between),
        margins=of(comparison.margins, between),
    )


def _turned(comparison: Comparison) -> Comparison:
    scores = comparison.scores
    if scores is not None:
        middle = max(scores) + min(scores)
        scores = tuple(middle - score for score in scores)
    # From the ranks: mirrored ratings that were almost equal may have become so.
    ranks = ranks_from_scores(comparison.ranks if scores is None else scores)
    # Whatever the labels were drawn from, it was not this.
    return dataclasses.replace(comparison, ranks=ranks, scores=scores, utilities=None)


def _place(comparison: Comparison, purpose: str = "") -> float:
    """A number in [0, 1), always the same for a comparison and a purpose."""
    text = "\n".join([purpose, *(message.content for message in comparison.prompt), *comparison.responses])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
