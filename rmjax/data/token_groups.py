"""Token ids of many prompts with their responses, in flat arrays instead of an object for each text."""

from __future__ import annotations

import array
import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from rmjax.data.tokenizer import Encoded

Groups = tuple[list[Encoded], list[list[Encoded]]]
"""Prompts, and the responses to each of them."""


@dataclasses.dataclass(frozen=True, eq=False)
class TokenGroups:
    """G groups of texts, each a prompt and its responses: T texts in the order prompt, response, response, ....

    Attributes:
        ids: the ids of all texts one after the other; uint16 if the vocabulary allows it, else int32.
        border_T: T + 1 positions in `ids`; text t reaches from border t to border t + 1.
        cut_T: the number of tokens that truncation cut from each text.
        first_G: G + 1 numbers of texts; the prompt of group g is text first_G[g], and its responses follow.
    """

    ids: np.ndarray
    border_T: np.ndarray
    cut_T: np.ndarray
    first_G: np.ndarray

    @classmethod
    def of(cls, blocks: Iterable[Groups], vocab_size: int) -> TokenGroups:
        """Returns the groups of all blocks, in their order; only one block at a time is held as objects."""
        dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.int32)
        ids, lengths, cuts, sizes = bytearray(), array.array("q"), array.array("i"), array.array("q")
        for prompts, responses in blocks:
            texts = [text for prompt, group in zip(prompts, responses, strict=True) for text in (prompt, *group)]
            if texts:
                ids += np.concatenate([text.ids for text in texts]).astype(dtype).tobytes()
            lengths.extend(len(text.ids) for text in texts)
            cuts.extend(text.cut for text in texts)
            sizes.extend(1 + len(group) for group in responses)
        return cls(
            np.frombuffer(ids, dtype), borders(np.array(lengths)), np.array(cuts, np.int32), borders(np.array(sizes))
        )

    def __len__(self) -> int:
        return len(self.first_G) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.ids.nbytes + self.border_T.nbytes + self.cut_T.nbytes + self.first_G.nbytes

    @property
    def length_T(self) -> np.ndarray:
        """The number of tokens of each text."""
        return np.diff(self.border_T)

    @property
    def is_prompt_T(self) -> np.ndarray:
        """True for a prompt, False for a response."""
        mask_T = np.zeros(len(self.cut_T), bool)
        mask_T[self.first_G[:-1]] = True
        return mask_T

    def texts(self, group: int) -> list[np.ndarray]:
        """Returns the ids `[tokens] int32` of the prompt and of each response of a group."""
        first, last = self.first_G[group : group + 2].tolist()
        ends = self.border_T[first : last + 1].tolist()
        ids = self.ids[ends[0] : ends[-1]].astype(np.int32)
        return [ids[start - ends[0] : end - ends[0]] for start, end in itertools.pairwise(ends)]

    def without_endings(self, tokens: int) -> TokenGroups:
        """Returns the groups without the last `tokens` ids of every response that truncation has cut."""
        shorter_T = np.where(self.is_prompt_T | (self.cut_T == 0), 0, tokens)
        kept = np.ones(len(self.ids), bool)
        for end in self.border_T[1:][shorter_T > 0].tolist():
            kept[end - tokens : end] = False
        return TokenGroups(self.ids[kept], borders(self.length_T - shorter_T), self.cut_T, self.first_G)

    def to_parts(self) -> list[memoryview]:
        """Returns the parts of a file: T, G and the size of an id, then `first_G`, `border_T`, `cut_T` and `ids`."""
        header = np.array([len(self.cut_T), len(self), self.ids.itemsize], np.int64)
        return [each.data for each in (header, self.first_G, self.border_T, self.cut_T, self.ids)]

    @classmethod
    def from_bytes(cls, content: bytes) -> TokenGroups:
        """Returns the groups that `to_parts` wrote; the arrays share its memory."""
        texts, groups, itemsize = np.frombuffer(content, np.int64, 3).tolist()
        numbers = np.frombuffer(content, np.int64, 3 + groups + 1 + texts + 1)
        cut_T = np.frombuffer(content, np.int32, texts, offset=numbers.nbytes)
        dtype = np.uint16 if itemsize == 2 else np.int32
        ids = np.frombuffer(content, dtype, offset=numbers.nbytes + cut_T.nbytes)
        return cls(ids, numbers[3 + groups + 1 :], cut_T, numbers[3 : 3 + groups + 1])


def borders(sizes: np.ndarray) -> np.ndarray:
    """Returns the positions where parts of these sizes begin and end, the first 0, as int64.

    Example:
        >>> borders(np.array([2, 3])).tolist()
        [0, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
