"""The layout of a packed row, how rows are filled, and what the arrays say about it."""

import math

import numpy as np
import pytest
from naive import make_example, one_bin, random_examples

from rmjax.data.packing import BatchShape, Chunk, build_batch, fitting_row_length, pack_rows, split_into_chunks
from rmjax.errors import InputError


def widths(row):
    return [piece.width for piece in row]


def test_a_row_looks_as_drawn():
    """Two comparisons with two responses each in one row, and one slot of padding at its end."""
    first = make_example([10, 11, 12, 13], [[20, 21, 2], [30, 2]])
    second = make_example([14, 15], [[40, 41, 2], [2]])
    batch, slots = one_bin([first, second], BatchShape(1, 16, 8, 8))
    # fmt: off
    drawn = {
        "tokens":    [10, 11, 12, 13, 20, 21, 2, 30, 2, 14, 15, 40, 41, 2, 2, 0],
        "positions": [0,   1,  2,  3,  4,  5, 6,  4, 5,  0,  1,  2,  3, 4, 2, 0],
        "segments":  [1,   1,  1,  1,  2,  2, 2,  3, 3,  4,  4,  5,  5, 5, 6, 0],
        "prompt_segments":   [1,   1,  1,  1,  1,  1, 1,  1, 1,  4,  4,  4,  4, 4, 4, 0],
    }
    # fmt: on
    for name, values in drawn.items():
        array = getattr(batch, f"{name}_RxL")
        assert array.dtype == np.int32
        assert array.tolist() == [values], name
    assert slots == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert batch.score_index_N.tolist() == [6, 8, 13, 14, 0, 0, 0, 0]
    assert batch.response_mask_N.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert batch.winner_P.tolist()[:2] == [0, 2]
    assert batch.loser_P.tolist()[:2] == [1, 3]
    assert batch.weight_P.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_an_example_that_fits_is_one_piece():
    example = make_example(range(4), [[1, 2], [3], [4, 5, 6]])
    assert split_into_chunks(7, example, row_length=10) == [Chunk(7, 0, 3, 10)]


def test_a_wide_example_is_cut_between_responses_and_repeats_its_prompt():
    example = make_example(range(4), [[1, 2], [3], [4, 5, 6]])
    assert split_into_chunks(0, example, row_length=9) == [Chunk(0, 0, 2, 7), Chunk(0, 2, 3, 7)]
    assert split_into_chunks(0, example, row_length=7) == [Chunk(0, 0, 2, 7), Chunk(0, 2, 3, 7)]


def test_without_sharing_every_response_carries_its_prompt():
    example = make_example(range(4), [[1, 2], [3], [4, 5, 6]])
    pieces = split_into_chunks(0, example, row_length=10, share_prompts=False)
    assert pieces == [Chunk(0, 0, 1, 6), Chunk(0, 1, 2, 5), Chunk(0, 2, 3, 7)]


def test_a_response_that_fits_no_row_is_an_error_that_says_what_to_change():
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


def test_best_fit_takes_the_fullest_row_that_still_holds_the_piece():
    """Widths 6, 5, 4, 3, 2 in rows of 10: 6 + 4, 5 + 3 + 2."""
    pieces = [Chunk(i, 0, 1, width) for i, width in enumerate([3, 6, 2, 5, 4])]
    assert [widths(row) for row in pack_rows(pieces, 10)] == [[6, 4], [5, 3, 2]]
    # 7 and 6 open rows with 3 and 4 free; 3 goes to the tighter one although the other would hold it too.
    pieces = [Chunk(i, 0, 1, width) for i, width in enumerate([6, 7, 3])]
    assert [widths(row) for row in pack_rows(pieces, 10)] == [[7, 3], [6]]


def test_equal_widths_keep_their_order():
    pieces = [Chunk(i, 0, 1, 5) for i in range(5)]
    assert [[piece.example for piece in row] for row in pack_rows(pieces, 10)] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("seed", range(5))
def test_rows_hold_every_piece_once_and_never_too_much(seed):
    rng = np.random.default_rng(seed)
    L = 64
    pieces = [Chunk(i, 0, 1, int(width)) for i, width in enumerate(rng.integers(1, L + 1, 200))]
    rows = pack_rows(pieces, L)
    assert all(sum(widths(row)) <= L for row in rows)
    assert sorted(piece for row in rows for piece in row) == pieces
    # No packing needs fewer rows than tokens / L, nor fewer than there are pieces wider than half a row.
    lower = max(math.ceil(sum(widths(pieces)) / L), sum(piece.width > L / 2 for piece in pieces))
    assert lower <= len(rows) <= 11 / 9 * lower + 1


def test_small_pieces_leave_almost_nothing_free():
    rng = np.random.default_rng(0)
    pieces = [Chunk(i, 0, 1, int(width)) for i, width in enumerate(rng.integers(1, 17, 400))]
    assert len(pack_rows(pieces, 64)) == math.ceil(sum(widths(pieces)) / 64)


@pytest.mark.parametrize("share_prompts", [True, False])
@pytest.mark.parametrize("row_length", [14, 18, 40])
def test_the_arrays_say_where_everything_is(row_length, share_prompts):
    """Reads prompts, responses and pairs back out of the arrays, also where comparisons are cut over several rows."""
    examples = random_examples(12, seed=3)
    batch, slots = one_bin(examples, BatchShape(40, row_length, 64, 64), share_prompts=share_prompts)
    cut = [i for i, e in enumerate(examples) if len(split_into_chunks(i, e, row_length)) > 1]
    assert bool(cut) == (row_length < 40)
    assert sorted(slots) == [(i, k) for i, e in enumerate(examples) for k in range(len(e.responses))]
    tokens, positions, segments, parents = (
        getattr(batch, f"{name}_RxL").reshape(-1) for name in ("tokens", "positions", "segments", "prompt_segments")
    )
    for n, (i, k) in enumerate(slots):
        at = int(batch.score_index_N[n])
        row = slice(at // row_length * row_length, at + 1)
        response = np.arange(row.start, row.stop)[segments[row] == segments[at]]
        prompt = np.arange(row.start, row.stop)[segments[row] == parents[at]]
        assert tokens[response].tolist() == examples[i].responses[k].tolist()
        assert response[-1] == at
        assert tokens[prompt].tolist() == examples[i].prompt.tolist()
        alone = np.arange(len(prompt) + len(response))
        assert positions[np.concatenate([prompt, response])].tolist() == alone.tolist()
    expected = {
        (i, int(w), int(lo), float(weight))
        for i, e in enumerate(examples)
        for w, lo, weight in zip(e.winner, e.loser, e.weight, strict=True)
    }
    used = np.flatnonzero(batch.weight_P)
    found = {
        (slots[batch.winner_P[p]][0], slots[batch.winner_P[p]][1], slots[batch.loser_P[p]][1], float(batch.weight_P[p]))
        for p in used
    }
    assert found == expected
    assert len(used) == len(expected)
    assert all(slots[batch.winner_P[p]][0] == slots[batch.loser_P[p]][0] for p in used)


def test_the_weights_of_a_comparison_sum_to_one():
    examples = random_examples(6, seed=1)
    batch, slots = one_bin(examples, BatchShape(20, 30, 24, 48))
    owner = np.array([slots[w][0] for w in batch.winner_P])
    totals = [batch.weight_P[owner == i].sum() for i in range(len(examples))]
    np.testing.assert_allclose(totals, 1.0, rtol=1e-6)


def test_every_field_of_a_pair_and_a_response_arrives_in_its_slot():
    a = make_example(
        [5],
        [[6, 2], [7, 2], [8, 2]],
        head=1,
        pairs=[(2, 0), (1, 2)],
        margin=np.array([0.25, 3], np.float32),
        unsafe=np.array([False, True, True]),
    )
    b = make_example([5, 5], [[9, 2], [2]], tied=np.array([True]), ratings=np.array([4, -1.5], np.float32))
    batch, slots = one_bin([a, b], BatchShape(2, 8, 8, 8))
    assert slots == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert batch.head_N.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert batch.rating_N.tolist() == [0, 0, 0, 4, -1.5, 0, 0, 0]
    assert batch.unsafe_N.tolist() == [False, True, True, *[False] * 5]
    np.testing.assert_allclose(batch.safety_weight_N, [1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0], rtol=1e-6)
    assert batch.winner_P.tolist()[:3] == [2, 1, 3]
    assert batch.loser_P.tolist()[:3] == [0, 2, 4]
    assert batch.margin_P.tolist()[:3] == [0.25, 3, 0]
    assert batch.tied_P.tolist() == [False, False, True, False, False, False, False, False]
    assert batch.weight_P.tolist()[:3] == [0.5, 0.5, 1]


def test_the_labels_of_a_comparison_share_its_weight():
    """1 over four responses; nothing where the comparison has no pairs, and where nobody said what is unsafe."""
    labelled = {"unsafe": np.zeros(4, bool)}
    examples = [
        make_example([3], [[2]] * 4, **labelled),
        make_example([3], [[2]] * 4, pairs=[], **labelled),
        make_example([3], [[2]] * 4),
    ]
    batch, slots = one_bin(examples, BatchShape(4, 8, 16, 24))
    expected = [0.25 if i == 0 else 0 for i, _ in slots] + [0] * 4
    assert batch.safety_weight_N.tolist() == expected


def test_indices_are_local_to_each_bin():
    examples = [make_example([5], [[6, 2], [2]]), make_example([7], [[8, 2], [2]])]
    bins = [[[Chunk(i, 0, 2, 4)]] for i in (0, 1)]
    batch, slots = build_batch(examples, bins, BatchShape(1, 4, 8, 8))
    assert batch.tokens_RxL.tolist() == [[[5, 6, 2, 2]], [[7, 8, 2, 2]]]
    assert batch.score_index_N[:, :2].tolist() == [[2, 3], [2, 3]]
    assert batch.winner_P[:, 0].tolist() == [0, 0]
    assert batch.loser_P[:, 0].tolist() == [1, 1]
    assert slots == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]


def test_an_empty_bin_weighs_nothing():
    batch, slots = build_batch([], [[]], BatchShape(2, 4, 8, 8))
    assert slots == [[]]
    assert not any(np.any(x) for x in vars(batch).values())
