"""Chunks of examples, row lengths, and how full rows are."""

import math

import numpy as np
import pytest
from naive import make_example

from rmjax.data.batch import Chunk
from rmjax.data.packing import fitting_row_length, pack_rows, split_into_chunks
from rmjax.errors import InputError


def widths(row):
    return [chunk.width for chunk in row]


def test_an_example_that_fits_is_one_chunk():
    example = make_example(range(4), [[1, 2], [3], [4, 5, 6]])
    assert split_into_chunks(7, example, row_length=10) == [Chunk(7, 0, 3, 10)]


def test_a_wide_example_is_cut_between_responses_and_repeats_its_prompt():
    example = make_example(range(4), [[1, 2], [3], [4, 5, 6]])
    assert split_into_chunks(0, example, row_length=9) == [Chunk(0, 0, 2, 7), Chunk(0, 2, 3, 7)]
    assert split_into_chunks(0, example, row_length=7) == [Chunk(0, 0, 2, 7), Chunk(0, 2, 3, 7)]


def test_without_sharing_every_response_carries_its_prompt():
    example = make_example(range(4), [[1, 2], [3], [4, 5, 6]])
    chunks = split_into_chunks(0, example, row_length=10, share_prompts=False)
    assert chunks == [Chunk(0, 0, 1, 6), Chunk(0, 1, 2, 5), Chunk(0, 2, 3, 7)]


def test_a_response_that_fits_no_row_is_refused():
    example = make_example(range(4), [[1], [1, 2, 3, 4]])
    assert len(split_into_chunks(0, example, row_length=8)) == 2
    with pytest.raises(InputError, match=r"prompt of 4 and a response of 4 tokens do not fit a row of 7.*row_length"):
        split_into_chunks(0, example, row_length=7)


def test_a_fitting_row_holds_the_longest_response_and_two_typical_comparisons():
    def examples(prompt, response, count=1):
        return [make_example([1] * prompt, [[1] * response, [1]])] * count

    assert fitting_row_length(examples(3, 4)) == 128  # no shorter
    # 96 tokens each: twice that is exactly three times 64; one token less, and two comparisons fill but two times 64.
    assert fitting_row_length(examples(20, 75)) == 192
    assert fitting_row_length(examples(20, 74)) == 128
    # 2 * 301 tokens would be wanted; the limit is 512, but the longest response must fit.
    assert fitting_row_length(examples(100, 200)) == 512
    assert fitting_row_length(examples(100, 500)) == 640
    # A single long one stretches the rows of all, to the next multiple.
    assert fitting_row_length([*examples(50, 250), *examples(3, 4, 99)]) == 320


def test_best_fit_takes_the_fullest_row_with_room():
    """Widths 6, 5, 4, 3, 2 in rows of 10: 6 + 4, 5 + 3 + 2."""
    chunks = [Chunk(i, 0, 1, width) for i, width in enumerate([3, 6, 2, 5, 4])]
    assert [widths(row) for row in pack_rows(chunks, 10)] == [[6, 4], [5, 3, 2]]
    # 7 and 6 open rows with 3 and 4 free; 3 goes to the tighter one although the other would hold it too.
    chunks = [Chunk(i, 0, 1, width) for i, width in enumerate([6, 7, 3])]
    assert [widths(row) for row in pack_rows(chunks, 10)] == [[7, 3], [6]]


def test_equal_widths_keep_their_order():
    chunks = [Chunk(i, 0, 1, 5) for i in range(5)]
    assert [[chunk.example for chunk in row] for row in pack_rows(chunks, 10)] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("seed", range(5))
def test_rows_contain_every_chunk_once_and_are_never_too_long(seed):
    rng = np.random.default_rng(seed)
    L = 64
    chunks = [Chunk(i, 0, 1, int(width)) for i, width in enumerate(rng.integers(1, L + 1, 200))]
    rows = pack_rows(chunks, L)
    assert all(sum(widths(row)) <= L for row in rows)
    assert sorted(chunk for row in rows for chunk in row) == chunks
    # No packing needs fewer rows than tokens / L, nor fewer than there are chunks wider than half a row.
    lower = max(math.ceil(sum(widths(chunks)) / L), sum(chunk.width > L / 2 for chunk in chunks))
    assert lower <= len(rows) <= 11 / 9 * lower + 1


def test_small_chunks_leave_almost_no_padding():
    rng = np.random.default_rng(0)
    chunks = [Chunk(i, 0, 1, int(width)) for i, width in enumerate(rng.integers(1, 17, 400))]
    assert len(pack_rows(chunks, 64)) == math.ceil(sum(widths(chunks)) / 64)
