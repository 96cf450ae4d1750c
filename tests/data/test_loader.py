"""Batch streams: equal batches, every comparison once per epoch, deterministic, balanced, sharded, one shape."""

import dataclasses
import threading

import jax
import numpy as np
import pytest
from naive import make_example, random_examples

from rmjax.data.batch_shape import rounded_shape
from rmjax.data.loader import WINDOW, BatchStream, balance_tokens, plan_epoch
from rmjax.errors import InputError

EXAMPLES = random_examples(53, seed=2)


def stream(examples=EXAMPLES, **changes):
    settings = {"batch_size": 8, "epochs": 2, "row_length": 32, "seed": 0, **changes}
    return BatchStream(examples, **settings)


def members(blocks):
    """The indices of the comparisons of a planned batch."""
    return sorted({chunk.example for block in blocks for row in block for chunk in row})


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(("shards", "microbatches"), [(1, 1), (4, 2)])
def test_batches_are_even_and_an_epoch_shows_everything_once(shards, microbatches):
    plan = stream(shards=shards, microbatches=microbatches).plan
    assert len(plan) == 14
    for epoch in (plan[:7], plan[7:]):
        assert sorted(len(members(blocks)) for blocks in epoch) == [7] * 3 + [8] * 4
        assert sorted(i for blocks in epoch for i in members(blocks)) == list(range(53))
    assert all(len(blocks) == shards * microbatches for blocks in plan)


def test_a_batch_holds_every_response_of_its_comparisons():
    batches = stream(row_length=15, shards=2)
    for step, blocks in enumerate(batches.plan):
        batch = batches[step]
        assert batch.responses.response_mask_N.sum() == sum(len(EXAMPLES[i].responses) for i in members(blocks))
        assert batch.pairs.weight_P.sum() == pytest.approx(len(members(blocks)))
        assert (batch.tokens_RxL != 0).sum() == sum(chunk.width for block in blocks for row in block for chunk in row)


def test_a_comparison_stays_on_one_shard_although_it_is_cut():
    for blocks in stream(row_length=15, shards=4).plan:
        owners = [{chunk.example for row in block for chunk in row} for block in blocks]
        assert sum(map(len, owners)) == len(set().union(*owners))


def test_seed_epoch_and_step_fix_the_batch():
    one, other = stream(), stream()
    for step in (0, 5, 13):
        assert_same(one[step], other[step])
    assert_same(one[3], one[3])
    orders = [[members(blocks) for blocks in plan] for plan in (one.plan[:7], one.plan[7:], stream(seed=1).plan[:7])]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_longer_run_begins_like_a_shorter_one():
    assert stream(epochs=3).plan[:14] == list(stream().plan)
    assert stream().plan == stream().plan != stream(seed=1).plan


def test_the_blocks_of_all_processes_make_the_batch():
    settings = {"shards": 4, "microbatches": 2}
    whole = stream(**settings)
    for step in (0, 6):
        blocks = [stream(**settings, process=(p, 2))[step] for p in range(2)]
        assert blocks[0].tokens_RxL.shape[:2] == (2, 2)
        assert_same(jax.tree.map(lambda *x: np.concatenate(x), *blocks), whole[step])


def test_all_batches_have_one_shape():
    batches = stream(shards=2, microbatches=2)
    shapes = {tuple(x.shape for x in jax.tree.leaves(batches[step])) for step in range(len(batches))}
    assert len(shapes) == 1
    assert batches[0].tokens_RxL.shape == (2, 2, *batches.shape[:2])


def test_no_smaller_shape_would_hold_the_plan():
    batches = stream()
    used = [batches[step] for step in range(len(batches))]
    assert batches.shape.rows == max((b.segments_RxL[0, 0].any(-1)).sum() for b in used)
    assert batches.shape.responses - 8 < max(b.responses.response_mask_N.sum() for b in used) <= batches.shape.responses
    assert batches.shape.pairs - 8 < max((b.pairs.weight_P > 0).sum() for b in used) <= batches.shape.pairs


def test_tokens_are_balanced_over_batches_and_shards():
    """Lengths from 20 to 400: shuffled batches of 8 would differ by far more than a tenth."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(20, 400, 256)
    sums = [tokens[batch].sum() for batch in plan_epoch(tokens, 8, rng)]
    assert max(sums) < 1.05 * np.mean(sums)
    shuffled = [tokens[batch].sum() for batch in rng.permutation(256).reshape(-1, 8)]
    assert max(shuffled) > 1.2 * np.mean(shuffled)
    halves = [tokens[part].sum() for part in balance_tokens(range(64), tokens, [64] * 4)]
    assert max(halves) - min(halves) < 20


def test_the_batch_of_the_longest_comparison_comes_at_any_time():
    """Balancing assigns the longest comparison first; its batch must not be the first step of every run."""
    tokens = np.array([500, *range(10, 90)])
    steps = {
        next(step for step, batch in enumerate(plan_epoch(tokens, 8, np.random.default_rng(seed))) if 0 in batch)
        for seed in range(20)
    }
    assert len(steps) > 5


def test_comparisons_are_exchanged_only_within_a_window():
    order = np.random.default_rng(7).permutation(1000)
    batches = plan_epoch(np.full(1000, 10), 4, np.random.default_rng(7))
    window = 4 * WINDOW  # 250 batches make 8 windows of 32
    for start in range(0, 1000, window):
        block = [i for batch in batches[start // 4 : (start + window) // 4] for i in batch]
        assert sorted(block) == sorted(order[start : start + window].tolist())


def test_balance_gives_the_longest_first_to_the_lightest():
    assert balance_tokens([0, 1, 2, 3], np.array([5, 9, 4, 1]), [4, 4]) == [[1, 3], [0, 2]]
    assert balance_tokens([0, 1, 2, 3], np.array([9, 1, 1, 1]), [2, 2]) == [[0, 3], [1, 2]]
    assert balance_tokens([0], np.array([3]), [1, 1, 1]) == [[0], [], []]


@pytest.mark.parametrize(("count", "batch_size"), [(1, 16), (16, 16), (17, 16), (1505, 16), (31_043, 32)])
def test_no_batch_of_an_epoch_is_smaller_than_another_by_more_than_one(count, batch_size):
    batches = plan_epoch(np.full(count, 10), batch_size, np.random.default_rng(1))
    even = [len(part) for part in np.array_split(np.arange(count), -(-count // batch_size))]
    assert sorted(map(len, batches), reverse=True) == even
    assert max(even) <= batch_size
    assert sorted(i for batch in batches for i in batch) == list(range(count))


def test_a_smaller_group_gets_its_share_of_the_tokens():
    tokens = np.random.default_rng(0).lognormal(5, 1, 91).astype(int)
    batches = plan_epoch(tokens, 16, np.random.default_rng(1))
    assert sorted(map(len, batches)) == [15] * 5 + [16]
    for batch in batches:
        assert tokens[batch].sum() == pytest.approx(len(batch) * tokens.mean(), rel=0.05)


def test_a_single_row_is_as_long_as_the_fullest_batch_needs():
    batches = stream(row_length=0, single_row=True, shards=2)
    filled = [int((batches[step].segments_RxL[shard] > 0).sum()) for step in range(len(batches)) for shard in range(2)]
    assert batches.shape.rows == 1
    assert batches.shape.row_length == -(-max(filled) // 64) * 64
    assert stream(row_length=32, single_row=True).shape.row_length == 32


def test_statistics_by_hand():
    """Two comparisons of 4 + 2 + 1 tokens in two batches of one row of 10: 14 of 20 tokens used, two prompts saved."""
    examples = [make_example([1, 2, 3, 4], [[5, 6], [7]]) for _ in range(2)]
    shared = stream(examples, batch_size=1, epochs=1, row_length=10)
    assert shared.shape == (1, 10, 8, 8)
    ideal = {"ideal_sharing": pytest.approx(22 / 14)}
    assert shared.statistics() == {"padding": pytest.approx(6 / 20), "sharing": pytest.approx(22 / 14), **ideal}
    # 6 + 5 tokens without sharing need two rows of 10 each batch.
    repeated = stream(examples, batch_size=1, epochs=1, row_length=10, share_prompts=False)
    assert repeated.statistics() == {"padding": pytest.approx(18 / 40), "sharing": pytest.approx(1), **ideal}


def test_a_row_length_of_zero_fits_the_examples():
    assert stream(row_length=0).shape.row_length == 128


def test_prefetch_gives_the_batches_in_order_from_another_thread():
    batches = stream()
    threads = set()
    build = batches.__getitem__

    class Watched(BatchStream):
        def __getitem__(self, step):
            threads.add(threading.get_ident())
            return build(step)

    batches.__class__ = Watched
    for step, batch in enumerate(batches.prefetch(3, 7), 3):
        assert_same(batch, build(step))
    assert step == 6
    assert threading.get_ident() not in threads
    assert list(batches.prefetch(5, 5)) == []


def test_an_error_in_the_thread_is_raised():
    batches = stream()
    ahead = batches.prefetch(13, 16)
    next(ahead)
    with pytest.raises(IndexError):
        next(ahead)


def test_the_row_length_is_the_one_at_which_least_is_computed():
    """Texts of 100 + 2 x 120 tokens, four to a device: one row of 1,408 would do, two of 704, or, cut at 512, four."""
    examples = [make_example(np.full(100, 5), [np.full(120, 7)] * 2) for _ in range(64)]
    stream = BatchStream(examples, batch_size=8, epochs=1, row_length=0, shards=2, seed=0)
    assert stream.shape[:2] == (2, 704)
    assert stream.statistics()["padding"] == pytest.approx(1 - 4 * 340 / (2 * 704))


def test_streams_of_different_data_of_the_same_size_share_a_rounded_shape():
    shapes = set()
    for seed in range(5):
        examples = random_examples(64, seed=seed, longest=60, most=2)
        fitted = stream(examples, batch_size=11, row_length=128)
        shape = rounded_shape(fitted.shape)
        rounded = stream(examples, batch_size=11, row_length=0, shape=shape)
        assert rounded.shape == shape
        assert rounded[0].tokens_RxL.shape == (1, 1, *shape[:2])
        assert [members(blocks) for blocks in rounded.plan] == [members(blocks) for blocks in fitted.plan]
        shapes.add((fitted.shape, shape))
    assert len({fitted for fitted, _ in shapes}) > 1
    assert len({shape for _, shape in shapes}) == 1


def test_batches_that_do_not_fit_into_a_given_shape_are_refused():
    needed = stream(row_length=64).shape
    assert stream(row_length=0, shape=needed).shape == needed
    for changes in ({"rows": needed.rows - 1}, {"responses": needed.responses - 8}, {"pairs": needed.pairs - 8}):
        with pytest.raises(InputError, match="which does not fit into the given BatchShape"):
            stream(row_length=0, shape=needed._replace(**changes))
    with pytest.raises(InputError, match="row_length is 32, but the given shape has rows of 64"):
        stream(row_length=32, shape=needed)


def test_a_single_row_fits_into_a_rounded_row():
    fitted = stream(row_length=0, single_row=True)
    shape = rounded_shape(fitted.shape)
    assert stream(row_length=0, single_row=True, shape=shape).shape == shape


def test_per_token_values_are_divided_like_the_tokens():
    examples = [dataclasses.replace(e, per_token={"id": e.responses}) for e in EXAMPLES]
    batch = stream(examples, shards=2, microbatches=2)[0]
    is_response = batch.segments_RxL != batch.prompt_segments_RxL
    assert batch.per_token["id"].shape == batch.tokens_RxL.shape
    np.testing.assert_array_equal(batch.per_token["id"], np.where(is_response, batch.tokens_RxL, 0))
