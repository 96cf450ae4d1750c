"""Beginnings of a response, at the ends of its tokens: their scores show what each token adds."""

from __future__ import annotations

from rmjax.data.tokenizer import Tokenizer

MOST = 512  # beginnings of one response; a longer one is divided at every second token, every third, ...


def beginnings(tokenizer: Tokenizer, response: str) -> list[str]:
    """Returns the beginnings of a response, shortest first; the last is the whole.

    They end where a token ends, except inside of a character. The first is empty, unless an empty response has no token
    to be scored at.
    """
    encoding = tokenizer.hf.backend_tokenizer.encode(response, add_special_tokens=False)
    ends = sorted({end for _, end in encoding.offsets if 0 < end < len(response)})
    every = -(-len(ends) // MOST) or 1
    cuts = [0] * bool(tokenizer.ending) + ends[every - 1 :: every]
    return [*dict.fromkeys(response[:cut] for cut in cuts if cut < len(response)), response]
