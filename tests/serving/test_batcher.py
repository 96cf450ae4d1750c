"""The thread that scores: whose scores are whose, sizes of batches, cancelled requests, and its end."""

import pytest
from conftest import user
from running_server import Held, wait_for

from rmjax.serving.batcher import Batcher, QueueLimits, Stopped, estimated_tokens


@pytest.fixture
def held():
    model = Held()
    yield model
    model.released.set()


def begin(held, **limits):
    """A batcher that computes its first request, so that further ones wait."""
    batcher = Batcher(held, QueueLimits(**limits))
    first = batcher.submit([user("?")], [["first"]])
    wait_for(lambda: held.batches)
    return batcher, first


def scores(future):
    return [group[:, 0].tolist() for group in future.result(20).raw]


def test_equal_prompts_of_several_requests_are_one_group_and_each_gets_its_own_scores(held):
    batcher, _ = begin(held)
    one = batcher.submit([user("?"), user("!")], [["a", "bb"], ["ccc"]])
    two = batcher.submit([user("!"), user("?"), user("!")], [["dddd"], ["eeeee"], ["ffffff"]])
    held.released.set()
    assert (scores(one), scores(two)) == ([[1, 2], [3]], [[4], [5], [6]])
    assert held.batches[1] == ["a", "bb", "eeeee", "ccc", "dddd", "ffffff"]
    batcher.stop(20)


def test_a_batch_has_at_most_so_many_tokens_or_one_request(held):
    batcher, _ = begin(held, batch_tokens=10)
    assert estimated_tokens([user("?")], [["a" * 8]]) == 4  # 1 + 3: one more than a quarter of the bytes, for each text
    texts = ["a" * 8, "b" * 8, "c" * 8, "d" * 80, "e" * 8]
    futures = [batcher.submit([user("?")], [[text]]) for text in texts]
    held.released.set()
    assert [scores(future) for future in futures] == [[[len(text)]] for text in texts]
    assert held.batches[1:] == [texts[:2], texts[2:3], texts[3:4], texts[4:]]
    batcher.stop(20)


def test_a_cancelled_request_is_not_computed(held):
    batcher, _ = begin(held)
    futures = [batcher.submit([user("?")], [[text]]) for text in ("a", "b")]
    assert futures[0].cancel()
    held.released.set()
    assert scores(futures[1]) == [[1]]
    assert held.batches[1:] == [["b"]]
    batcher.stop(20)


def test_the_end_waits_for_requests_that_were_taken(held):
    batcher, first = begin(held)
    second = batcher.submit([user("?")], [["bb"]])
    batcher.stop(0)  # no time: the first one is being computed, the second one is given up
    with pytest.raises(Stopped, match="before this request was computed"):
        second.result(20)
    with pytest.raises(Stopped, match="is stopping"):
        batcher.submit([user("?")], [["ccc"]])
    held.released.set()
    assert scores(first) == [[5]]
    other, _ = begin(held)
    last = other.submit([user("?")], [["bb"]])
    other.stop(20)
    assert last.done()
    assert scores(last) == [[2]]
    assert not other.alive
