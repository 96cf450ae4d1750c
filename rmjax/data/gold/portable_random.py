"""Random choices with the same sequence in every Python version."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class PortableRandom(random.Random):
    """Random choices based only on `random()`, whose sequence for a seed is the same in every Python version."""

    def pick(self, choices: Sequence[T]) -> T:
        """Returns one of the choices, all equally likely."""
        return choices[int(self.random() * len(choices))]

    def number(self, first: int, last: int) -> int:
        """Returns a whole number from `first` to `last`."""
        return first + int(self.random() * (last + 1 - first))

    def chance(self, probability: float) -> bool:
        """Returns True with this probability."""
        return self.random() < probability

    def weighted(self, weights: Mapping[T, float]) -> T:
        """Returns one of the keys, with probability proportional to its value."""
        left = self.random() * sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        return choice

    def distinct(self, choices: Sequence[T], count: int) -> list[T]:
        """Returns `count` different choices in random order."""
        left = list(choices)
        return [left.pop(int(self.random() * len(left))) for _ in range(count)]

    def frequent(self, choices: Sequence[T], count: int) -> list[T]:
        """Returns `count` different choices; the one at place k is drawn with a weight of 1 / (k + 3) (Zipf's law)."""
        left = {k: 1 / (k + 3) for k in range(len(choices))}
        drawn = []
        for _ in range(count):
            drawn.append(self.weighted(left))
            del left[drawn[-1]]
        return [choices[k] for k in drawn]

    def common(self, choices: Sequence[T]) -> T:
        """Returns one of the choices, the first ones more often, as `frequent`."""
        return self.frequent(choices, 1)[0]
