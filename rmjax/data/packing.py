"""Assignment of tokenized comparisons to rows: which responses share a row, and which rows share a shard's batch.

A comparison that is too wide for a row is cut between responses, and its prompt is repeated in every part.
`rmjax.data.batch` writes the rows into arrays.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from rmjax.data.batch import Chunk, Example
from rmjax.data.example_table import text_lengths
from rmjax.errors import InputError


def split_into_chunks(index: int, example: Example, row_length: int, *, share_prompts: bool = True) -> list[Chunk]:
    """Returns the chunks of an example: one if it fits into a row, else as few as the order of its responses allows.

    With `share_prompts=False` every response has its own copy of the prompt.

    Raises:
        InputError: the prompt with one response is longer than a row.
    """
    lengths = [len(response) for response in example.responses]
    return split_lengths(index, len(example.prompt), lengths, row_length, share_prompts=share_prompts)


def split_lengths(
    index: int, prompt: int, responses: Sequence[int], row_length: int, *, share_prompts: bool = True
) -> list[Chunk]:
    """Returns the chunks of `split_into_chunks`, given the tokens of the prompt and of the responses."""
    chunks, first, width = [], 0, prompt
    for k, response in enumerate(responses):
        if prompt + response > row_length:
            raise InputError(
                f"a prompt of {prompt} and a response of {response} tokens do not fit a row of {row_length}: "
                "raise row_length or lower tokenizer.max_prompt and tokenizer.max_response"
            )
        if k > first and (width + response > row_length or not share_prompts):
            chunks.append(Chunk(index, first, k, width))
            first, width = k, prompt
        width += response
    return [*chunks, Chunk(index, first, len(responses), width)]


def fitting_row_length(examples: Sequence[Example]) -> int:
    """Returns a row length for these examples: a multiple of 64, at least 128, that holds the longest prompt with one
    response.

    It holds about two typical comparisons, so that rows fill well and few prompts are repeated, and no more than that:
    the cost of attention grows with the square of the row length.
    """
    longest = total = 0
    for prompt, responses in text_lengths(examples):
        longest = max(longest, prompt + max(responses))
        total += prompt + sum(responses)
    mean = total / len(examples)
    return max(-(-longest // 64), int(min(2 * mean, 512) // 64), 2) * 64


def pack_rows(chunks: Sequence[Chunk], row_length: int) -> list[list[Chunk]]:
    """Returns rows of chunks by best-fit decreasing bin packing: the widest chunk first, into the fullest row that has
    room for it.

    At most 11/9 of the optimum plus four rows (Johnson 1973). Chunks of equal width keep their order, so the result is
    deterministic.
    """
    rows: list[list[Chunk]] = []
    free: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for chunk in sorted(chunks, key=lambda chunk: -chunk.width):
        fullest = bisect.bisect_left(free, (chunk.width, -1))
        if fullest < len(free):
            room, row = free.pop(fullest)
        else:
            room, row = row_length, len(rows)
            rows.append([])
        rows[row].append(chunk)
        bisect.insort(free, (room - chunk.width, row))
    return rows
