"""Conversion of comparisons and demonstrations to training examples: token ids, head index, pair arrays."""

from __future__ import annotations

import array
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from rmjax.data.comparisons import Comparison, Demonstration, Pair, Prompt, head_index
from rmjax.data.example_table import Examples
from rmjax.data.token_groups import Groups, TokenGroups
from rmjax.data.tokenizer import Encoded, PromptIds, ResponseIds, Tokenizer
from rmjax.errors import InputError

Encode = Callable[[Sequence[Prompt], Sequence[Sequence[str]], Tokenizer], TokenGroups]

BLOCK = 4096  # prompts that are tokenized together; their ids are objects until they are in flat arrays


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


def tokenize(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer) -> TokenGroups:
    """Returns the ids of `encode_groups` in flat arrays."""
    starts = range(0, len(prompts), BLOCK)
    blocks = (encode_groups(prompts[i : i + BLOCK], responses[i : i + BLOCK], tokenizer) for i in starts)
    return TokenGroups.of(blocks, tokenizer.vocab_size)


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
    encoded: TokenGroups | None = None,
) -> Examples:
    """Returns one example per comparison, in order.

    The pairs of a comparison share the weight 1 equally: 1/C(K,2) each, as in InstructGPT (2203.02155, section 3.5), or
    one over the number of remaining pairs if ties are left out. A comparison without remaining pairs has weight 0.

    Args:
        comparisons: the comparisons.
        tokenizer: converts their texts to ids.
        heads: names of the model's heads.
        rule: selects the pairs and their margins.
        encoded: the ids of the comparisons from `tokenize`, if they are known.

    Raises:
        InputError: the rule needs a margin or a strength that the data do not state, or a head is missing.
    """
    if encoded is None:
        encoded = tokenize([c.prompt for c in comparisons], [c.responses for c in comparisons], tokenizer)
    kinds: dict[tuple[Pair, ...], int] = {}
    head_G, kind_G = array.array("h"), array.array("i")
    margin_P, rating_R, unsafe_R = array.array("f"), array.array("f"), array.array("b")
    for comparison in comparisons:
        used = [i for i, pair in enumerate(comparison.pairs) if rule.keep_ties or not pair.tied]
        pairs = tuple(comparison.pairs[i] for i in used)
        head_G.append(head_index(comparison, heads))
        kind_G.append(kinds.setdefault(pairs, len(kinds)))
        margin_P.extend(_margin(comparison, i, rule) for i in used)
        count = len(comparison.responses)
        rating_R.extend([math.nan] * count if comparison.scores is None else comparison.scores)
        unsafe_R.extend([-1] * count if comparison.unsafe is None else comparison.unsafe)
    ratings, unsafe = np.array(rating_R, np.float32), np.array(unsafe_R, np.int8)
    margins = np.array(margin_P, np.float32)
    return Examples(
        encoded,
        np.array(head_G, np.int16),
        [_pair_arrays(pairs) for pairs in kinds],
        np.array(kind_G, np.int32),
        margins if margins.any() else None,
        None if np.isnan(ratings).all() else ratings,
        None if (unsafe < 0).all() else unsafe,
    )


def encode_demonstrations(
    demonstrations: Sequence[Demonstration], tokenizer: Tokenizer, encode: Encode = tokenize
) -> Examples:
    """Returns one example with one response per demonstration, in order; `encode` computes the ids.

    A truncated demonstration has no ending: a model must not learn to stop there.
    """
    groups = encode([d.prompt for d in demonstrations], [(d.response,) for d in demonstrations], tokenizer)
    zeros = np.zeros(len(demonstrations), np.int16)
    return Examples(groups.without_endings(len(tokenizer.ending)), zeros, [_pair_arrays(())], zeros)


def _pair_arrays(pairs: tuple[Pair, ...]) -> dict[str, np.ndarray]:
    """Returns the arrays that all comparisons with these pairs share: read-only, so that none can change another."""
    arrays = {
        "winner": np.array([pair.winner for pair in pairs], np.int32),
        "loser": np.array([pair.loser for pair in pairs], np.int32),
        "tied": np.array([pair.tied for pair in pairs], bool),
        "margin": np.zeros(len(pairs), np.float32),
        "weight": np.full(len(pairs), 1 / max(1, len(pairs)), np.float32),
    }
    for each in arrays.values():
        each.flags.writeable = False
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
