"""Cached tokenization: the BPE of a text collection, and the ids of comparisons and demonstrations.

Later runs and the other runs of a sweep reuse them. Texts passed to `score` are never cached.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
from collections.abc import Sequence
from typing import Any

from rmjax.data.bpe import as_fast_tokenizer, train_bpe
from rmjax.data.comparisons import Prompt
from rmjax.data.disk_cache import cached
from rmjax.data.examples import tokenize
from rmjax.data.token_groups import TokenGroups
from rmjax.data.tokenizer import Tokenizer

PACKAGES = ("jinja2", "tokenizers", "transformers")  # ids depend on their versions


def cached_bpe(texts: Sequence[str], vocab_size: int) -> object:
    """Returns `train_bpe(texts, vocab_size)`, from the cache if possible."""
    return cached(
        "bpe",
        _key(vocab_size, texts),
        lambda: train_bpe(texts, vocab_size),
        lambda tokenizer: [tokenizer.backend_tokenizer.to_str().encode()],
        lambda content: as_fast_tokenizer(content.decode()),
    )


def cached_groups(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], tokenizer: Tokenizer) -> TokenGroups:
    """Returns `tokenize(prompts, responses, tokenizer)`, from the cache if possible."""
    return cached(
        "ids",
        _key(tokenizer.identity(), prompts, responses),
        lambda: tokenize(prompts, responses, tokenizer),
        TokenGroups.to_parts,
        TokenGroups.from_bytes,
    )


def _key(setting: Any, *texts: Sequence[Any]) -> bytes:
    """Returns a hash of the versions, a setting, and lists of equal meaning; each item is hashed by itself."""
    versions = [importlib.metadata.version(name) for name in PACKAGES]
    digest = hashlib.sha256(json.dumps([versions, setting, [len(items) for items in texts]]).encode())
    for item in itertools.chain(*texts):
        digest.update(json.dumps(item).encode())
        digest.update(b"\n")  # JSON has no line breaks, so no two lists give the same bytes
    return digest.digest()
