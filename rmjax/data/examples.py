"""Comparisons and demonstrations -> `Example`s: tokenized, their head chosen, their pairs weighted."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from rmjax.data.batch import Example
from rmjax.data.comparisons import Comparison, Demonstration, Pair, Prompt
from rmjax.data.tokenizer import Encoded, PromptIds, ResponseIds, Tokenizer
from rmjax.errors import InputError

Groups = tuple[list[Encoded], list[list[Encoded]]]
Encode = Callable[[Sequence[Prompt], Sequence[Sequence[str]], Tokenizer], Groups]


@dataclasses.dataclass(frozen=True)
class PairRule:
    """Which pairs of a comparison the loss sees, and with what margin.

    Attributes:
        keep_ties: tied pairs take part; otherwise they are left out.
        margins: the margin of each grade of strength; None for no margin at all.
        given: the margins stated in the data are used instead.
    """

    keep_ties: bool = False
    margins: Mapping[str, float] | None = None
    given: bool = False


def encode_groups(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer) -> Groups:
    """Ids of every prompt and of its responses, in their order; see `Tokenizer.truncate` for what truncation does."""
    joined = [tokenizer.truncate(prompt, group) for prompt, group in _whole(prompts, responses, tokenizer)]
    return [prompt for prompt, _ in joined], [group for _, group in joined]


def encode_alone(
    prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer
) -> list[list[tuple[Encoded, Encoded]]]:
    """Ids of every prompt with each of its responses, which no sibling changes: (prompt, response) for each response.

    Responses to one prompt share its array wherever its ids are the same for them, so that it is computed once.
    """
    groups = []
    for prompt, group in _whole(prompts, responses, tokenizer):
        shared: dict[tuple[int, int], Encoded] = {}
        pairs = []
        for response in group:
            own, (encoded,) = tokenizer.truncate(prompt, [response])
            pairs.append((shared.setdefault((response.replaces, own.cut), own), encoded))
        groups.append(pairs)
    return groups


def _whole(
    prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer
) -> Iterator[tuple[PromptIds, list[ResponseIds]]]:
    """Every prompt with its responses, not truncated; each distinct text is tokenized once."""
    distinct = list(dict.fromkeys(prompts))
    encoded = dict(zip(distinct, tokenizer.encode_prompts(distinct), strict=True))
    whole = [encoded[prompt] for prompt in prompts]
    repeated = [prompt for prompt, group in zip(whole, responses, strict=True) for _ in group]
    flat = iter(tokenizer.encode_responses(repeated, [text for group in responses for text in group]))
    for prompt, group in zip(whole, responses, strict=True):
        yield prompt, list(itertools.islice(flat, len(group)))


def head_index(comparison: Comparison, heads: Sequence[str]) -> int:
    """Which head a comparison trains and is judged by.

    A model with one head takes every comparison, whatever its label: that is what mixing safety data into a helpfulness
    model means. With several heads the comparison's own label decides.

    Raises:
        InputError: several heads, and the comparison names none of them.
    """
    if len(heads) == 1:
        return 0
    if comparison.head not in heads:
        named = "names no head" if comparison.head is None else f"is for the head {comparison.head!r}"
        raise InputError(
            f"{comparison.origin}: this comparison {named}, but the model has the heads {', '.join(heads)}: "
            'add "head" to the record, or train a model with one head'
        )
    return list(heads).index(comparison.head)


def encode_comparisons(
    comparisons: Sequence[Comparison],
    tokenizer: Tokenizer,
    heads: Sequence[str],
    rule: PairRule,
    encoded: Groups | None = None,
) -> list[Example]:
    """One `Example` per comparison, in order. `encoded` are their ids from `encode_groups`, where they are known.

    The pairs of a comparison share the weight 1 equally: 1/C(K,2) each, as in InstructGPT (2203.02155, section 3.5), or
    one over the pairs that remain when ties are left out. A comparison whose pairs are all left out weighs nothing.

    Raises:
        InputError: a margin is asked for and the data does not state it, or a head is missing.
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
    """One `Example` with one response per demonstration, in order; `encode` makes its ids.

    A demonstration that truncation cut has no ending: a model must not learn to stop there.
    """
    prompts, responses = encode([d.prompt for d in demonstrations], [[d.response] for d in demonstrations], tokenizer)
    whole = [r.ids[: -len(tokenizer.ending)] if r.cut else r.ids for (r,) in responses]
    return [Example(prompt.ids, (ids,)) for prompt, ids in zip(prompts, whole, strict=True)]


def _pair_arrays(comparison: Comparison, rule: PairRule) -> dict[str, np.ndarray]:
    pairs = comparison.pairs
    used = [i for i, pair in enumerate(pairs) if rule.keep_ties or not pair.tied]
    return _arrays(tuple(pairs[i] for i in used), tuple(_margin(comparison, i, rule) for i in used))


@functools.lru_cache(4096)
def _arrays(pairs: tuple[Pair, ...], margins: tuple[float, ...]) -> dict[str, np.ndarray]:
    """The pair arrays of an `Example`. Most comparisons have pairs like another's, and share the arrays with it."""
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
    if comparison.pairs[pair].tied or not (rule.given or rule.margins is not None):
        return 0.0
    if rule.given:
        if comparison.margins is None:
            raise InputError(f'{comparison.origin}: loss.margin=given, but this comparison states no "margin"')
        return comparison.margins[pair]
    if comparison.strengths is None:
        raise InputError(
            f'{comparison.origin}: loss.margin needs the "strength" of every pair, but this comparison states none: '
            "set loss.margin=none"
        )
    return rule.margins[comparison.strengths[pair]]
