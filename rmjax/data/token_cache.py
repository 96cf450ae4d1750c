"""Cached tokenization: the BPE of a text collection, and the ids of comparisons and demonstrations.

Later runs and the other runs of a sweep reuse them. Texts passed to `score` are never cached.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from rmjax.data.bpe import as_fast_tokenizer, train_bpe
from rmjax.data.comparisons import Prompt
from rmjax.data.disk_cache import cached
from rmjax.data.examples import Groups, encode_groups
from rmjax.data.tokenizer import Encoded, Tokenizer

PACKAGES = ("jinja2", "tokenizers", "transformers")  # ids depend on their versions


def cached_bpe(texts: Sequence[str], vocab_size: int) -> object:
    """Returns `train_bpe(texts, vocab_size)`, from the cache if possible."""
    return cached(
        "bpe",
        _key(texts, vocab_size),
        lambda: train_bpe(texts, vocab_size),
        lambda tokenizer: tokenizer.backend_tokenizer.to_str().encode(),
        lambda content: as_fast_tokenizer(content.decode()),
    )


def cached_groups(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer) -> Groups:
    """Returns `encode_groups(prompts, responses, tokenizer)`, from the cache if possible."""
    sizes = [len(group) for group in responses]
    return cached(
        "ids",
        _key(prompts, responses, tokenizer.identity()),
        lambda: encode_groups(prompts, responses, tokenizer),
        _to_bytes,
        lambda content: _from_bytes(content, sizes),
    )


def _key(*parts: Any) -> bytes:
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    return json.dumps([versions, *parts]).encode()


def _to_bytes(groups: Groups) -> bytes:
    """The number of texts, the length and the cut of each, and all ids; prompts first."""
    prompts, responses = groups
    texts = [*prompts, *(text for group in responses for text in group)]
    counts = [[len(text.ids) for text in texts], [text.cut for text in texts]]
    return b"".join(
        [np.int64(len(texts)).tobytes(), np.array(counts, np.int64).tobytes(), *(text.ids.tobytes() for text in texts)]
    )


def _from_bytes(content: bytes, sizes: Sequence[int]) -> Groups:
    numbers = np.frombuffer(content, np.int64, 1 + 2 * int(np.frombuffer(content, np.int64, 1)[0]))
    lengths, cuts = numbers[1:].reshape(2, -1)
    ids = np.frombuffer(content, np.int32, offset=numbers.nbytes)
    ends = np.cumsum(lengths).tolist()
    texts = [Encoded(ids[start:end], cut) for start, end, cut in zip([0, *ends], ends, cuts.tolist(), strict=False)]
    borders = (len(texts) - sum(sizes) + np.cumsum([0, *sizes])).tolist()
    return texts[: borders[0]], [texts[start:end] for start, end in itertools.pairwise(borders)]
