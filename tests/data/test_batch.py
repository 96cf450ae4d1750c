"""The arrays of packed batches: the layout of a row, response slots, pair slots, and per-token values."""

import dataclasses

import jax
import numpy as np
import pytest
from naive import make_example, one_bin, random_examples

from rmjax.data.batch import BatchShape, Chunk, build_batch
from rmjax.data.packing import split_into_chunks


def test_a_row_looks_as_drawn():
    """Two comparisons with two responses each in one row, and one token of padding at its end."""
    first = make_example([10, 11, 12, 13], [[20, 21, 2], [30, 2]])
    second = make_example([14, 15], [[40, 41, 2], [2]])
    batch, slots = one_bin([first, second], BatchShape(1, 16, 8, 8))
    # fmt: off
    drawn = {
        "tokens":    [10, 11, 12, 13, 20, 21, 2, 30, 2, 14, 15, 40, 41, 2, 2, 0],
        "positions": [0,   1,  2,  3,  4,  5, 6,  4, 5,  0,  1,  2,  3, 4, 2, 0],
        "segments":  [1,   1,  1,  1,  2,  2, 2,  3, 3,  4,  4,  5,  5, 5, 6, 0],
        "prompt_segments": [1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 0],
    }
    # fmt: on
    for name, values in drawn.items():
        array = getattr(batch, f"{name}_RxL")
        assert array.dtype == np.int32
        assert array.tolist() == [values], name
    assert slots == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert batch.responses.score_index_N.tolist() == [6, 8, 13, 14, 0, 0, 0, 0]
    assert batch.responses.response_mask_N.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert batch.pairs.winner_P.tolist()[:2] == [0, 2]
    assert batch.pairs.loser_P.tolist()[:2] == [1, 3]
    assert batch.pairs.weight_P.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("share_prompts", [True, False])
@pytest.mark.parametrize("row_length", [14, 18, 40])
def test_prompts_responses_and_pairs_can_be_read_back(row_length, share_prompts):
    """Also if comparisons are cut over several rows."""
    examples = random_examples(12, seed=3)
    batch, slots = one_bin(examples, BatchShape(40, row_length, 64, 64), share_prompts=share_prompts)
    cut = [i for i, e in enumerate(examples) if len(split_into_chunks(i, e, row_length)) > 1]
    assert bool(cut) == (row_length < 40)
    assert sorted(slots) == [(i, k) for i, e in enumerate(examples) for k in range(len(e.responses))]
    tokens, positions, segments, prompt_segments = (
        getattr(batch, f"{name}_RxL").reshape(-1) for name in ("tokens", "positions", "segments", "prompt_segments")
    )
    for n, (i, k) in enumerate(slots):
        index = int(batch.responses.score_index_N[n])
        row = slice(index // row_length * row_length, index + 1)
        response = np.arange(row.start, row.stop)[segments[row] == segments[index]]
        prompt = np.arange(row.start, row.stop)[segments[row] == prompt_segments[index]]
        assert tokens[response].tolist() == examples[i].responses[k].tolist()
        assert response[-1] == index
        assert tokens[prompt].tolist() == examples[i].prompt.tolist()
        alone = np.arange(len(prompt) + len(response))
        assert positions[np.concatenate([prompt, response])].tolist() == alone.tolist()
    expected = {
        (i, int(w), int(lo), float(weight))
        for i, e in enumerate(examples)
        for w, lo, weight in zip(e.winner, e.loser, e.weight, strict=True)
    }
    pairs = batch.pairs
    used = np.flatnonzero(pairs.weight_P)
    ends = [(slots[pairs.winner_P[p]], slots[pairs.loser_P[p]], float(pairs.weight_P[p])) for p in used]
    assert {(i, k, other, weight) for (i, k), (_, other), weight in ends} == expected
    assert len(used) == len(expected)
    assert all(winner[0] == loser[0] for winner, loser, _ in ends)


def test_the_weights_of_a_comparison_sum_to_one():
    examples = random_examples(6, seed=1)
    batch, slots = one_bin(examples, BatchShape(20, 30, 24, 48))
    owner = np.array([slots[w][0] for w in batch.pairs.winner_P])
    totals = [batch.pairs.weight_P[owner == i].sum() for i in range(len(examples))]
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
    assert batch.responses.head_N.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert batch.responses.rating_N.tolist() == [0, 0, 0, 4, -1.5, 0, 0, 0]
    assert batch.responses.unsafe_N.tolist() == [False, True, True, *[False] * 5]
    np.testing.assert_allclose(batch.responses.safety_weight_N, [1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0], rtol=1e-6)
    assert batch.pairs.winner_P.tolist()[:3] == [2, 1, 3]
    assert batch.pairs.loser_P.tolist()[:3] == [0, 2, 4]
    assert batch.pairs.margin_P.tolist()[:3] == [0.25, 3, 0]
    assert batch.pairs.tied_P.tolist() == [False, False, True, False, False, False, False, False]
    assert batch.pairs.weight_P.tolist()[:3] == [0.5, 0.5, 1]


def test_the_labels_of_a_comparison_share_its_weight():
    """1/4 each of four responses; 0 if the comparison has no pairs or no labels."""
    labelled = {"unsafe": np.zeros(4, bool)}
    examples = [
        make_example([3], [[2]] * 4, **labelled),
        make_example([3], [[2]] * 4, pairs=[], **labelled),
        make_example([3], [[2]] * 4),
    ]
    batch, slots = one_bin(examples, BatchShape(4, 8, 16, 24))
    expected = [0.25 if i == 0 else 0 for i, _ in slots] + [0] * 4
    assert batch.responses.safety_weight_N.tolist() == expected


def test_indices_are_local_to_each_block():
    examples = [make_example([5], [[6, 2], [2]]), make_example([7], [[8, 2], [2]])]
    blocks = [[[Chunk(i, 0, 2, 4)]] for i in (0, 1)]
    batch, slots = build_batch(examples, blocks, BatchShape(1, 4, 8, 8))
    assert batch.tokens_RxL.tolist() == [[[5, 6, 2, 2]], [[7, 8, 2, 2]]]
    assert batch.responses.score_index_N[:, :2].tolist() == [[2, 3], [2, 3]]
    assert batch.pairs.winner_P[:, 0].tolist() == [0, 0]
    assert batch.pairs.loser_P[:, 0].tolist() == [1, 1]
    assert slots == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]


def test_an_empty_block_is_all_zeros():
    batch, slots = build_batch([], [[]], BatchShape(2, 4, 8, 8))
    assert slots == [[]]
    assert not any(np.any(x) for x in jax.tree.leaves(batch))


def with_per_token(example, **arrays):
    return dataclasses.replace(example, per_token={name: tuple(values) for name, values in arrays.items()})


@pytest.mark.parametrize("share_prompts", [True, False])
@pytest.mark.parametrize("row_length", [14, 40])
def test_per_token_values_are_at_the_tokens_of_their_responses(row_length, share_prompts):
    """Every token's value is derived from its id, so the arrays can be read back from the ids."""
    examples = [
        with_per_token(
            example, half=[ids / 2 for ids in example.responses], one=[ids * 0 + 1 for ids in example.responses]
        )
        for example in random_examples(12, seed=3)
    ]
    batch, _ = one_bin(examples, BatchShape(40, row_length, 64, 64), share_prompts=share_prompts)
    is_response = batch.segments_RxL != batch.prompt_segments_RxL
    assert {array.dtype for array in batch.per_token.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(batch.per_token["half"], np.where(is_response, batch.tokens_RxL / 2, 0))
    np.testing.assert_array_equal(batch.per_token["one"], is_response)


def test_without_per_token_values_a_batch_has_no_arrays_for_them():
    plain, _ = one_bin(random_examples(2), BatchShape(4, 40, 8, 16))
    assert plain.per_token == {}
    assert len(jax.tree.leaves(plain)) == 15


def test_per_token_values_must_fit_their_response():
    with pytest.raises(ValueError, match=r"per_token\['weight'\] has arrays of the shapes"):
        with_per_token(make_example([3], [[4, 2]]), weight=[np.ones(1, np.float32)])


def test_examples_of_one_batch_have_per_token_values_of_the_same_names():
    plain = make_example([3], [[4, 2]])
    with pytest.raises(ValueError, match=r"per_token is \[\] here and \['weight'\] elsewhere"):
        one_bin([with_per_token(plain, weight=[np.ones(2, np.float32)]), plain], BatchShape(2, 8, 8, 8))
