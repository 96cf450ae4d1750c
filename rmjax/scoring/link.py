"""Link between the difference of two scores and odds, as the training loss defines it."""

from __future__ import annotations

import dataclasses

import numpy as np

from rmjax.errors import InputError

LINKS = ("bradley_terry", "rao_kupper", "none")


@dataclasses.dataclass(frozen=True)
class Link:
    """The relation between the gap of two raw scores and the odds that the first response is preferred.

    Attributes:
        name: `bradley_terry`, `rao_kupper`, or `none` if a gap gives no odds, as after regression or classification.
        threshold: η of `rao_kupper`.

    Raises:
        InputError: the name is unknown, or the threshold is negative or no number.
    """

    name: str = "bradley_terry"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in LINKS:
            raise InputError(f"unknown link {self.name!r}: known are {', '.join(LINKS)}")
        if not isinstance(self.threshold, int | float) or not 0 <= self.threshold < float("inf"):
            raise InputError(f"the threshold of a link must be a number of at least 0, found {self.threshold!r}")

    @property
    def has_odds(self) -> bool:
        """True if gaps give odds, and so probabilities, a likelihood and a calibration."""
        return self.name != "none"

    def log_odds(self, gap: np.ndarray | float) -> np.ndarray:
        """Returns log P(first preferred) / P(second preferred), given that the two are not tied; odd in the gap.

        bradley_terry  gap
        rao_kupper     softplus(η + gap) - softplus(η - gap), from P(win) = σ(gap - η) and P(lose) = σ(-gap - η)

        Args:
            gap: score of the first response less score of the second, any shape.

        Returns:
            float64 array of the same shape.

        Raises:
            InputError: the link is `none`.

        Source: Bradley & Terry (1952); Rao & Kupper (1967).
        """
        gap = np.asarray(gap, np.float64)
        if self.name == "bradley_terry":
            return gap
        if self.name == "rao_kupper":
            return np.logaddexp(0, self.threshold + gap) - np.logaddexp(0, self.threshold - gap)
        raise InputError(
            "these scores give no probability that one answer is preferred: their difference is not log odds"
        )


BRADLEY_TERRY = Link()
NO_ODDS = Link("none")
