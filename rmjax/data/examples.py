"""Conversion of comparisons and demonstrations to `Example`s: token ids, head index, pair arrays."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rmjax.data.batch import Example
from rmjax.data.comparisons import Comparison, Demonstration, Pair, Prompt, head_index
from rmjax.data.tokenizer import Encoded, PromptIds, ResponseIds, Tokenizer
from rmjax.errors import InputError

Groups = tuple[list[Encoded], list[list[Encoded]]]
Encode = Callable[[Sequence[Prompt], Sequence[Sequence[str]], Tokenizer], Groups]


@dataclasses.dataclass(frozen=True)
class PairRule:
    """The pairs of a comparison that the loss uses, and their margins.

    Attributes:
        keep_ties: use tied pairs too; otherwise they are left out.
        margins: strength -> margin; None for no margins.
        given: use the margins that the data state instead.
    """

    keep_ties: bool = False
    margins: Mapping[str, float] | None = None
    given: bool = False


def encode_groups(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer) -> Groups:
    """Returns the ids of every prompt and of its responses, truncated by `Tokenizer.truncate`."""
    groups = [tokenizer.truncate(prompt, group) for prompt, group in _untruncated(prompts, responses, tokenizer)]
    return [prompt for prompt, _ in groups], [group for _, group in groups]


def encode_alone(
    prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer
) -> list[list[tuple[Encoded, Encoded]]]:
    """Returns (prompt, response) ids for each response of each prompt, independent of the other responses.

    Responses to one prompt share its array if its ids are the same for them, so that it is computed once.
    """
    groups = []
    for prompt, group in _untruncated(prompts, responses, tokenizer):
        shared: dict[tuple[int, int], Encoded] = {}
        pairs = []
        for response in group:
            own, (encoded,) = tokenizer.truncate(prompt, [response])
            pairs.append((shared.setdefault((response.replaces, own.cut), own), encoded))
        groups.append(pairs)
    return groups


def _untruncated(
    prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer
) -> Iterator[tuple[PromptIds, list[ResponseIds]]]:
    """Yields every prompt with its responses, not truncated; each distinct text is tokenized once."""
    distinct = list(dict.fromkeys(prompts))
    encoded = dict(zip(distinct, tokenizer.encode_prompts(distinct), strict=True))
    whole = [encoded[prompt] for prompt in prompts]
    repeated = [prompt for prompt, group in zip(whole, responses, strict=True) for _ in group]
    flat = iter(tokenizer.encode_responses(repeated, [text for group in responses for text in group]))
    for prompt, group in zip(whole, responses, strict=True):
        yield prompt, list(itertools.islice(flat, len(group)))


def encode_comparisons(
    comparisons: Sequence[Comparison],
    tokenizer: Tokenizer,
    heads: Sequence[str],
    rule: PairRule,
    encoded: Groups | None = None,
) -> list[Example]:
    """Returns one `Example` per comparison, in order.

    The pairs of a comparison share the weight 1 equally: 1/C(K,2) each, as in InstructGPT (2203.02155, section 3.5), or
    one over the number of remaining pairs if ties are left out. A comparison without remaining pairs has weight 0.

    Args:
        comparisons: the comparisons.
        tokenizer: converts their texts to ids.
        heads: names of the model's heads.
        rule: selects the pairs and their margins.
        encoded: the ids of the comparisons from `encode_groups`, if they are known.

    Raises:
        InputError: the rule needs a margin or a strength that the data do not state, or a head is missing.
    """
    prompts, responses = encoded or encode_groups(
        [comparison.prompt for comparison in comparisons],
        [comparison.responses for comparison in comparisons],
        tokenizer,
    )
    return [
        Example(
            prompt=prompt.ids,
            responses=tuple(response.ids for response in group),
            head=head_index(comparison, heads),
            ratings=None if comparison.scores is None else np.array(comparison.scores, np.float32),
            unsafe=None if comparison.unsafe is None else np.array(comparison.unsafe, bool),
            **_pair_arrays(comparison, rule),
        )
        for comparison, prompt, group in zip(comparisons, prompts, responses, strict=True)
    ]


def encode_demonstrations(
    demonstrations: Sequence[Demonstration], tokenizer: Tokenizer, encode: Encode = encode_groups
) -> list[Example]:
    """Returns one `Example` with one response per demonstration, in order; `encode` computes the ids.

    A truncated demonstration has no ending: a model must not learn to stop there.
    """
    prompts, responses = encode([d.prompt for d in demonstrations], [[d.response] for d in demonstrations], tokenizer)
    ids = [r.ids[: -len(tokenizer.ending)] if r.cut else r.ids for (r,) in responses]
    return [Example(prompt.ids, (response,)) for prompt, response in zip(prompts, ids, strict=True)]


def _pair_arrays(comparison: Comparison, rule: PairRule) -> dict[str, Any]:
    used = [i for i, pair in enumerate(comparison.pairs) if rule.keep_ties or not pair.tied]
    return _shared_arrays(tuple(comparison.pairs[i] for i in used), tuple(_margin(comparison, i, rule) for i in used))


# Most comparisons have the same pairs as an earlier one. Sharing the arrays is five times as fast and saves memory;
# they are read-only, so that no example can change another.
@functools.lru_cache(4096)
def _shared_arrays(pairs: tuple[Pair, ...], margins: tuple[float, ...]) -> dict[str, np.ndarray]:
    arrays = {
        "winner": np.array([pair.winner for pair in pairs], np.int32),
        "loser": np.array([pair.loser for pair in pairs], np.int32),
        "tied": np.array([pair.tied for pair in pairs], bool),
        "margin": np.array(margins, np.float32),
        "weight": np.full(len(pairs), 1 / max(1, len(pairs)), np.float32),
    }
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _margin(comparison: Comparison, pair: int, rule: PairRule) -> float:
    if comparison.pairs[pair].tied:
        return 0.0
    if rule.given:
        if comparison.margins is None:
            raise InputError(f'{comparison.origin}: loss.margin=given, but this comparison states no "margin"')
        return comparison.margins[pair]
    if rule.margins is None:
        return 0.0
    if comparison.strengths is None:
        raise InputError(
            f'{comparison.origin}: loss.margin needs the "strength" of every pair, but this comparison states none: '
            "set loss.margin=none"
        )
    return rule.margins[comparison.strengths[pair]]
