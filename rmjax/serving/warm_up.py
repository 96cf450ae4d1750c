"""Compilation before the first request, so that no client waits for it."""

from __future__ import annotations

from rmjax.data.comparisons import Message
from rmjax.serving.batcher import estimated_tokens
from rmjax.serving.served import Served

PROMPT, RESPONSE = "How do I boil an egg?", "Put it in boiling water for seven minutes, then cool it."


def warm_up(served: Served, batch_tokens: int) -> None:
    """Scores 1, 2, 3, 4, 5, 7, ... prompts with one response each, up to a full batch: every shape of short texts.

    Longer texts and groups of many responses have further shapes, which are compiled when they come. The compilation
    cache keeps all of them for the next start.
    """
    count = 1
    one = estimated_tokens([(Message("user", PROMPT),)], [[RESPONSE]])
    while count * one <= batch_tokens:
        prompts = [(Message("user", f"{PROMPT} {number}"),) for number in range(count)]
        served.model.score_groups(prompts, [[RESPONSE]] * count)
        count += max(1, count * 2 // 5)
