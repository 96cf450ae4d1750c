"""Tokenization as done before: the BPE of a text collection, and the ids of comparisons and demonstrations.

What a run would compute again and its last one, or the next run of a sweep, has computed already. What users score is
never kept.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.data.examples import Groups, encode_groups
from rmjax.data.kept import code, kept
from rmjax.data.tokenizer import Encoded, Tokenizer, as_fast_tokenizer, train_bpe

CODE = ("chat_template", "examples", "token_store", "tokenizer")  # what ids depend on
PACKAGES = ("jinja2", "tokenizers", "transformers")  # and what else


def kept_bpe(texts: Sequence[str], vocab_size: int) -> object:
    """What `train_bpe(texts, vocab_size)` gives."""
    return kept(
        "bpe",
        _made_from(texts, vocab_size),
        lambda: train_bpe(texts, vocab_size),
        lambda tokenizer: tokenizer.backend_tokenizer.to_str().encode(),
        lambda content: as_fast_tokenizer(content.decode()),
    )


def kept_groups(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer) -> Groups:
    """What `encode_groups(prompts, responses, tokenizer)` gives."""
    sizes = [len(group) for group in responses]
    return kept(
        "ids",
        _made_from(prompts, responses, tokenizer.identity()),
        lambda: encode_groups(prompts, responses, tokenizer),
        _written,
        lambda content: _read(content, sizes),
    )


def _made_from(*parts: Any) -> bytes:
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    return code(*CODE) + json.dumps([versions, *parts]).encode()


def _written(groups: Groups) -> bytes:
    """The number of texts, the length and the cut of each, and all ids; prompts first."""
    prompts, responses = groups
    texts = [*prompts, *(text for group in responses for text in group)]
    counts = [[len(text.ids) for text in texts], [text.cut for text in texts]]
    return b"".join(
        [np.int64(len(texts)).tobytes(), np.array(counts, np.int64).tobytes(), *(text.ids.tobytes() for text in texts)]
    )


def _read(content: bytes, sizes: Sequence[int]) -> Groups:
    numbers = np.frombuffer(content, np.int64, 1 + 2 * int(np.frombuffer(content, np.int64, 1)[0]))
    lengths, cuts = numbers[1:].reshape(2, -1)
    ids = np.frombuffer(content, np.int32, offset=numbers.nbytes)
    ends = np.cumsum(lengths).tolist()
    texts = [Encoded(ids[start:end], cut) for start, end, cut in zip([0, *ends], ends, cuts.tolist(), strict=False)]
    borders = (len(texts) - sum(sizes) + np.cumsum([0, *sizes])).tolist()
    return texts[: borders[0]], [texts[start:end] for start, end in itertools.pairwise(borders)]
