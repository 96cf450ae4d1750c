"""Encoding of texts in which special tokens written by a user are ordinary text.

A message may contain "<|im_end|>". Contents are marked before the template is rendered, so that its own special tokens
can be distinguished from those in contents.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

# Marks around a special token in a content, and part of the names of special tokens while such a text is encoded. The
# number is random in every process, so that no text can contain it.
_NONCE = f"{secrets.randbelow(10**18):018}"
OPEN, CLOSE = f"\ue000{_NONCE}", f"{_NONCE}\ue001"


class TextEncoder:
    """Encodes rendered texts: special tokens in contents are ordinary text, those of the template are special.

    Args:
        tokenizer: a `transformers` fast tokenizer.
        split_special_tokens: False treats special tokens in contents as special too.

    Attributes:
        special: matches the special tokens, the longest first.
    """

    def __init__(self, tokenizer: Any, *, split_special_tokens: bool) -> None:
        self._backend, self._split = tokenizer.backend_tokenizer, split_special_tokens
        # Only special tokens can end or forge a turn. Other added tokens, such as runs of spaces, are ordinary text.
        added = self._backend.get_added_tokens_decoder().values()
        longest_first = sorted((token.content for token in added if token.special), key=len, reverse=True)
        self.special = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def protect(self, content: str) -> str:
        """Returns the content with marks around the special tokens in it."""
        if not self._split or not self.special.search(content):
            return content
        return self.special.sub(lambda found: f"{OPEN}{found[0]}{CLOSE}", content)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the ids of every text, `[T] int32`; parts that `protect` marked are ordinary text."""
        # The template writes every special token, so none is added. The backend encodes in parallel.
        encoded = self._backend.encode_batch_fast(
            ["" if _NONCE in text else text for text in texts], add_special_tokens=False
        )
        return [
            self._encode_marked(text) if _NONCE in text else np.array(each.ids, np.int32)
            for text, each in zip(texts, encoded, strict=True)
        ]

    def _encode_marked(self, text: str) -> np.ndarray:
        backend, ids = self._renamed
        parts = re.split(f"{OPEN}(.*?){CLOSE}", text, flags=re.DOTALL)  # parts of odd index are marked
        # A template that splits contents can leave one mark of two.
        others = [part.replace(OPEN, "").replace(CLOSE, "") for part in parts[::2]]
        renamed = [self.special.sub(lambda found: _renamed(found[0]), part) for part in others]
        joined = "".join(itertools.chain(*itertools.zip_longest(renamed, parts[1::2], fillvalue="")))
        return ids[backend.encode(joined, add_special_tokens=False).ids]

    @functools.cached_property
    def _renamed(self) -> tuple[Any, np.ndarray]:
        """The backend with other names for its special tokens, and an array from its ids to those of the tokenizer.

        The parts of a text cannot be encoded one by one: some tokenizers put a space before each.
        """
        from tokenizers import Tokenizer as Backend

        settings = json.loads(self._backend.to_str())
        names = {token["content"]: _renamed(token["content"]) for token in settings["added_tokens"] if token["special"]}
        for token in settings["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        backend = Backend.from_str(json.dumps(settings))
        ids = np.arange(backend.get_vocab_size(with_added_tokens=True) + len(settings["added_tokens"]), dtype=np.int32)
        for token in settings["added_tokens"]:
            ids[backend.token_to_id(token["content"])] = token["id"]
        return backend, ids


def _renamed(special: str) -> str:
    return f"\ue003{_NONCE}{special.encode().hex()}\ue004"
