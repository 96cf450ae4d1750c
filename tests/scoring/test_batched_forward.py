"""Batched forward pass against the naive form, for any number of devices and any other texts in the batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import assert_close, make_example, make_params, naive_scores, random_examples

from rmjax.data.batch import BatchShape
from rmjax.data.batch_shape import rounded_shape
from rmjax.models.config import default_head
from rmjax.models.reward import RewardTransformer
from rmjax.parallel.layout import Pmap
from rmjax.scoring import batched_forward
from rmjax.scoring.batched_forward import BatchedForward, common_shapes

HEADS = ("helpful", "safety")


def texts(count, seed, **sizes):
    """Comparisons without pairs: all that scoring is given."""
    return [make_example(e.prompt, e.responses, pairs=[]) for e in random_examples(count, seed, **sizes)]


EXAMPLES = texts(21, seed=8, longest=30)


@pytest.fixture(scope="module")
def setting(tiny_trunk):
    model = RewardTransformer(tiny_trunk, default_head(HEADS, tiny_trunk), jnp.dtype("float32"))
    return model, make_params(model)


@pytest.fixture(scope="module")
def score(setting, one_device):
    model, params = setting
    run, there = BatchedForward(model, one_device), one_device.device_put(params)
    return lambda examples: run(there, examples)


@pytest.fixture(scope="module")
def expected(score):
    return score(EXAMPLES)


def test_scores_equal_the_naive_form(tiny_trunk, setting, expected):
    assert expected[0].shape == (len(EXAMPLES[0].responses), 2)
    assert expected[0].dtype == np.float32
    assert_close(expected, naive_scores(setting[1], tiny_trunk, HEADS, EXAMPLES))


@pytest.mark.parametrize("devices", [2, 8])
def test_the_number_of_devices_is_irrelevant(setting, expected, devices):
    model, params = setting
    layout = Pmap(tuple(jax.devices()[:devices]))
    assert_close(BatchedForward(model, layout)(layout.device_put(params), EXAMPLES), expected)


def test_fewer_examples_than_devices(setting, expected):
    model, params = setting
    layout = Pmap(tuple(jax.devices()[:8]))
    (alone,) = BatchedForward(model, layout)(layout.device_put(params), EXAMPLES[:1])
    assert_close(alone, expected[0])


def test_order_and_company_are_irrelevant(score, expected):
    assert_close(score(EXAMPLES[::-1])[::-1], expected)
    assert_close([score([example])[0] for example in EXAMPLES[:4]], expected[:4])


def test_in_bfloat16_order_and_company_change_rounding_alone(tiny_trunk, one_device):
    """A mask that shows siblings or neighbours moves a score by the spread of all scores, rounding by 2 % at most."""
    trunk = dataclasses.replace(tiny_trunk, width=64, layers=4)
    model = RewardTransformer(trunk, default_head(HEADS, trunk), jnp.dtype("bfloat16"))
    run, params = BatchedForward(model, one_device), one_device.device_put(make_params(model))
    together = run(params, EXAMPLES)
    assert_close(run(params, EXAMPLES[::-1])[::-1], together, tolerance=0.05)
    apart = [make_example(e.prompt, [text], pairs=[]) for e in EXAMPLES for text in e.responses]
    alone = [run(params, [each])[0] for each in apart[:12]]
    assert_close(np.concatenate(alone), np.concatenate(together)[:12], tolerance=0.05)


def test_what_is_computed_at_a_time_is_irrelevant(score, expected, monkeypatch):
    """Three chunks, each of several device batches."""
    monkeypatch.setattr(batched_forward, "CHUNK", 8)
    monkeypatch.setattr(batched_forward, "TOKENS_PER_CORE", 256)
    assert_close(score(EXAMPLES), expected)


def record_shapes(run):
    """The shapes that reach the device from here on; nothing is computed."""
    shapes = []

    def record(_, batch):
        shapes.append((batch.tokens_RxL.shape, batch.responses.score_index_N.shape))
        return np.zeros((*batch.responses.score_index_N.shape, 2), np.float32)

    run._apply = record
    return shapes


def test_requests_of_many_sizes_share_a_few_shapes(setting, one_device):
    """1 to 200 comparisons: of tokens there are at most eight sizes in each octave, of everything else one."""
    model, params = setting
    run, pool = BatchedForward(model, one_device), texts(200, seed=9)
    shapes = record_shapes(run)
    for count in range(1, 201):
        assert len(run(params, pool[:count])) == count
    lengths = {length for (_, _, length), _ in shapes}
    assert len({length for length in lengths if 1024 < length <= 2048}) == 8
    for (_, rows, length), (_, slots) in shapes:
        assert rows.bit_count() == slots.bit_count() == 1
        assert length % 64 == 0
        assert length < 1024 or length * 16 % (1 << (length - 1).bit_length()) == 0


def test_a_wide_group_is_shared_out_over_the_devices(setting):
    """64 responses to one prompt, on four devices: each computes the prompt and a quarter of the responses."""
    model, params = setting
    run = BatchedForward(model, Pmap(tuple(jax.devices()[:4])))
    shapes = record_shapes(run)
    responses = [np.full(30, 7, np.int32)] * 64
    run(params, [make_example(np.full(100, 5, np.int32), responses, pairs=[])])
    assert shapes == [((4, 1, 640), (4, 16))]  # 100 + 16 * 30 = 580, rounded up


def test_a_group_wider_than_a_core_likes_stays_whole_where_its_prompt_is_shared(setting, tiny_trunk):
    """One row and one prompt on one device; an encoder reads the prompt with every response, so its rows stay short."""
    group = make_example(np.full(100, 5, np.int32), [np.full(30, 7, np.int32)] * 100, pairs=[])
    found = []
    encoder = dataclasses.replace(tiny_trunk, causal=False)
    for model in (setting[0], RewardTransformer(encoder, default_head(HEADS, encoder), jnp.float32)):
        run = BatchedForward(model, Pmap(tuple(jax.devices()[:1])))
        shapes = record_shapes(run)
        run({}, [group])
        found.append([tokens for tokens, _ in shapes])
    assert found[0] == [(1, 1, 3328)]  # 100 + 100 * 30 = 3,100, rounded up
    assert found[1] == [(1, 1, 2048)] * 7  # 15 texts of 130 tokens each, the last row 10, which is more than half


@pytest.mark.parametrize(
    ("last", "shape"),
    [((1, 440, 8, 8), (1, 448, 8, 8)), ((1, 460, 8, 8), (1, 1024, 64, 8)), ((1, 600, 8, 8), (1, 1024, 64, 8))],
)
def test_the_batches_of_a_call_have_one_shape_unless_the_last_is_less_than_half_full(last, shape):
    """The common shape has 1,024 tokens. A last batch with a rounded size below 512 keeps its own shape."""
    found = common_shapes([BatchShape(1, 1000, 24, 8), BatchShape(1, 970, 40, 8), BatchShape(*last)], rounded_shape)
    assert found == [(1, 1024, 64, 8)] * 2 + [shape]


def test_texts_of_many_lengths_are_scored_in_two_shapes(setting, monkeypatch):
    monkeypatch.setattr(batched_forward, "TOKENS_PER_CORE", 1024)
    run = BatchedForward(setting[0], Pmap(tuple(jax.devices()[:1])))
    shapes = record_shapes(run)
    run({}, texts(300, seed=5, longest=6) + texts(90, seed=6, longest=60))
    assert len(shapes) > 10
    assert len(set(shapes)) <= 2


def test_a_stream_fills_its_rows(setting, monkeypatch):
    """Everything but the last step is full, and the last is shared out over the devices."""
    model, params = setting
    monkeypatch.setattr(batched_forward, "TOKENS_PER_CORE", 1024)
    run = BatchedForward(model, Pmap(tuple(jax.devices()[:2])))
    shapes, pool = record_shapes(run), texts(1000, seed=3)
    run(params, pool)
    tokens = sum(len(e.prompt) + sum(map(len, e.responses)) for e in pool)
    computed = sum(np.prod(tokens_shape) for tokens_shape, _ in shapes)
    assert computed < 1.05 * tokens


def test_nothing_scores_to_nothing(score):
    assert score([]) == []


def test_a_single_response_is_a_group_of_one(score, expected):
    alone = score([make_example(EXAMPLES[3].prompt, [EXAMPLES[3].responses[1]], pairs=[])])[0]
    assert alone.shape == (1, 2)
    assert_close(alone[0], expected[3][1])
