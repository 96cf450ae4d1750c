"""Training examples in flat arrays; an `Example` is made when it is read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from rmjax.data.batch import Example
from rmjax.data.token_groups import TokenGroups, borders


@dataclasses.dataclass(frozen=True, eq=False)
class Examples(Sequence[Example]):
    """G examples with R responses and P pairs, about 50 bytes and two bytes a token for a pair of responses.

    `examples[i]` is an `Example`, `examples[i:j]` a list of them.

    Attributes:
        groups: the ids.
        head_G: index of the head of each example.
        kinds: the distinct pair arrays: winner, loser, tied, weight and margin, each by name.
        kind_G: the index of each example's pair arrays in `kinds`.
        margin_P: the margins of all pairs one after the other; None for those of `kinds`.
        rating_R: the ratings of all responses, NaN without a rating; None if there are none.
        unsafe_R: 1 for an unsafe response, 0 for a safe one, -1 without a label; None if there are no labels.
    """

    groups: TokenGroups
    head_G: np.ndarray
    kinds: Sequence[Mapping[str, np.ndarray]]
    kind_G: np.ndarray
    margin_P: np.ndarray | None = None
    rating_R: np.ndarray | None = None
    unsafe_R: np.ndarray | None = None
    _first_P: np.ndarray = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = np.array([len(kind["weight"]) for kind in self.kinds], np.int64)
        pairs_G = self.kind_G if self.margin_P is not None else self.kind_G[:0]
        object.__setattr__(self, "_first_P", borders(sizes[pairs_G]))

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        optional = [array for array in (self.margin_P, self.rating_R, self.unsafe_R) if array is not None]
        arrays = [self.head_G, self.kind_G, self._first_P, *optional]
        return self.groups.nbytes + sum(array.nbytes for array in arrays)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self._example(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._example(index % len(self))

    def __iter__(self) -> Iterator[Example]:
        return map(self._example, range(len(self)))

    def _example(self, index: int) -> Example:
        prompt, *responses = self.groups.texts(index)
        arrays: dict[str, Any] = dict(self.kinds[self.kind_G[index]])
        if self.margin_P is not None:
            arrays["margin"] = self.margin_P[self._first_P[index] : self._first_P[index + 1]]
        first = int(self.groups.first_G[index]) - index  # of the responses: every group before has one prompt
        here = slice(first, first + len(responses))
        if self.rating_R is not None and not np.isnan(self.rating_R[here]).any():
            arrays["ratings"] = self.rating_R[here]
        if self.unsafe_R is not None and (self.unsafe_R[here] >= 0).all():
            arrays["unsafe"] = self.unsafe_R[here].astype(bool)
        return Example(prompt, tuple(responses), int(self.head_G[index]), **arrays)

    def lengths(self) -> Iterator[tuple[int, list[int]]]:
        """Yields for each example the tokens of its prompt and of its responses; makes no example."""
        length_T = self.groups.length_T
        for first, last in itertools.pairwise(self.groups.first_G.tolist()):
            prompt, *responses = length_T[first:last].tolist()
            yield prompt, responses

    def pair_count(self, index: int) -> int:
        """Returns the number of pairs of an example; makes no example."""
        return len(self.kinds[self.kind_G[index]]["weight"])

    def standardized(self) -> Examples:
        """Returns the examples with the ratings of each head at mean 0 and standard deviation 1; all must have ratings.

        A causal head has no bias to learn a mean with, and raters' scales differ.
        """
        assert self.rating_R is not None  # the loss on ratings refuses data without them before
        head_R = np.repeat(self.head_G, np.diff(self.groups.first_G) - 1)
        rating_R = self.rating_R.copy()
        for head in np.unique(head_R):
            ratings = self.rating_R[head_R == head]
            rating_R[head_R == head] = (ratings - ratings.mean()) / (ratings.std() or 1.0)
        return dataclasses.replace(self, rating_R=rating_R)


def text_lengths(examples: Sequence[Example]) -> Iterator[tuple[int, list[int]]]:
    """Yields for each example the tokens of its prompt and of its responses."""
    if isinstance(examples, Examples):
        return examples.lengths()
    return ((len(example.prompt), [len(response) for response in example.responses]) for example in examples)


def pair_count(examples: Sequence[Example], index: int) -> int:
    """Returns the number of pairs of an example."""
    return examples.pair_count(index) if isinstance(examples, Examples) else len(examples[index].weight)
