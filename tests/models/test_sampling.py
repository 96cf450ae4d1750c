"""Tests of sampling against the forward pass over whole rows, on all layouts and in any order."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.compare import CAUSAL, GOLDEN, load_language_model
from naive import assert_close, make_example, make_params, one_bin

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.pretrained import open_pretrained
from rmjax.models.sampling import Sampler
from rmjax.models.token_choice import SamplingSettings
from rmjax.models.transformer import LanguageModel
from rmjax.parallel.layout import make_layout

pytestmark = pytest.mark.usefixtures("quick_compilation")


FLOAT32 = jnp.dtype("float32")
VARIANTS = {
    "rotary": {},
    "learned": {"positions": "learned", "max_positions": 64, "tie_embeddings": True},
    "window": {"window": 3, "local_layers": (True, False)},
    "capped": {
        "window": 2,
        "local_layers": (False, True),
        "attention_cap": 3.0,
        "output_cap": 5.0,
        "norm_order": "both",
    },
}


def packed_log_probs(config, params, prompt, responses, temperature=1.0):
    """(log softmax of the next-token logits `[T_k, V]` at each token of each response) of one packed row."""
    example = make_example(prompt, responses, pairs=[])
    length = len(prompt) + sum(map(len, responses))
    batch, _ = one_bin([example], BatchShape(1, length, 8 * len(responses), 8))
    model = LanguageModel(config, FLOAT32)
    logits = np.asarray(jax.jit(lambda p, b: model.apply({"params": p}, b))(params, batch))[0]
    found, start = [], len(prompt)
    for response in responses:
        before = [len(prompt) - 1, *range(start, start + len(response) - 1)]
        scaled = logits[before].astype(np.float64) / temperature
        found.append(scaled - np.log(np.exp(scaled - scaled.max(-1, keepdims=True)).sum(-1, keepdims=True)))
        found[-1] -= scaled.max(-1, keepdims=True)
        start += len(response)
    return found


def check_log_probs(config, params, prompts, samples, temperature=1.0):
    """The log-probabilities of samples are those of the packed forward pass; returns the latter."""
    everything = []
    for prompt, of_prompt in zip(prompts, samples, strict=True):
        whole = packed_log_probs(config, params, prompt, of_prompt.ids, temperature)
        for ids, log_probs, expected in zip(of_prompt.ids, of_prompt.log_probs, whole, strict=True):
            np.testing.assert_allclose(log_probs, expected[np.arange(len(ids)), ids], atol=1e-4)
        everything.append(whole)
    return everything


def some_prompts(vocab, lengths=(3, 7, 1, 12), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocab, length) for length in lengths]


@pytest.mark.parametrize("name", CAUSAL)
def test_greedy_samples_of_every_family_are_the_likeliest_tokens(one_device, name):
    """Tokens and log-probabilities, with prompts of four lengths and grouped attention, windows and caps."""
    pretrained = open_pretrained(str(GOLDEN / name / "language_model"))
    config, params = pretrained.config, load_language_model(pretrained)
    prompts = some_prompts(config.vocab_size)
    sampler = Sampler(config, FLOAT32, one_device, SamplingSettings(max_response=11, temperature=0))
    samples = sampler(one_device.device_put(params), prompts, 1, seed=0)
    for of_prompt, (expected,) in zip(samples, check_log_probs(config, params, prompts, samples), strict=True):
        # Where two tokens are equally likely, rounding decides.
        second, first = np.sort(expected, axis=1)[:, -2:].T
        clear = first - second > 1e-4
        assert clear.any()
        np.testing.assert_array_equal(of_prompt.ids[0][clear], expected.argmax(1)[clear])
        assert of_prompt.ids[0].dtype == np.int32
        assert not of_prompt.stopped.any()


@pytest.mark.parametrize("name", VARIANTS)
def test_log_probabilities_of_samples_equal_those_of_the_packed_rows(tiny_trunk, one_device, name):
    """Six samples of each prompt; at a temperature they are those of the divided logits."""
    config = dataclasses.replace(tiny_trunk, **VARIANTS[name])
    params = make_params(LanguageModel(config, FLOAT32))
    prompts = some_prompts(300)
    settings = SamplingSettings(max_response=9, temperature=0.7 if name == "rotary" else 1.0)
    samples = Sampler(config, FLOAT32, one_device, settings)(one_device.device_put(params), prompts, 6, seed=3)
    assert len({tuple(ids) for of_prompt in samples for ids in of_prompt.ids}) == 24
    check_log_probs(config, params, prompts, samples, settings.temperature)


@pytest.fixture(scope="module")
def divisible():
    """Settings whose sizes are multiples of four, except for the two key/value heads, and their parameters."""
    config = TransformerConfig(
        vocab_size=20,
        width=16,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        mlp_width=24,
        rope_theta=100.0,
        norm_eps=1e-5,
        tie_embeddings=False,
    )
    return config, jax.tree.map(np.asarray, make_params(LanguageModel(config, FLOAT32)))


STOP = SamplingSettings(max_response=23, stop=(7,))


@pytest.fixture(scope="module")
def reference(divisible, one_device):
    """Six samples of five prompts on one device, many of which end early."""
    config, params = divisible
    prompts = some_prompts(20, (3, 7, 1, 12, 5))
    sampler = Sampler(config, FLOAT32, one_device, STOP)
    return prompts, sampler, sampler(one_device.device_put(params), prompts, 6, seed=1, step=2)


def assert_same(actual, expected):
    """The same tokens and ends, and the same log-probabilities up to rounding."""
    for one, other in zip(actual, expected, strict=True):
        assert one.stopped.tolist() == other.stopped.tolist()
        for ids, expected_ids in zip(one.ids, other.ids, strict=True):
            np.testing.assert_array_equal(ids, expected_ids)
        assert_close(np.concatenate(one.log_probs), np.concatenate(other.log_probs))


def test_a_sample_ends_with_the_stop_ids_or_at_the_limit(divisible, reference):
    config, params = divisible
    prompts, _, samples = reference
    for of_prompt in samples:
        for ids, stopped in zip(of_prompt.ids, of_prompt.stopped, strict=True):
            assert 7 not in ids[:-1]
            assert (ids[-1] == 7) if stopped else (len(ids) == 23)
    stopped = np.concatenate([of_prompt.stopped for of_prompt in samples])
    assert 5 < stopped.sum() < 25
    check_log_probs(config, params, prompts, samples)


def test_an_ending_of_two_ids_stops_only_in_their_order(divisible, reference, one_device):
    """The random numbers are the same, so every sample is the beginning of one that never stops."""
    config, params = divisible
    prompts, _, _ = reference
    params = one_device.device_put(params)

    def sample(stop):
        settings = SamplingSettings(max_response=40, stop=stop)
        return Sampler(config, FLOAT32, one_device, settings)(params, prompts, 6, seed=1)

    ends = 0
    for endless, ended in zip(sample(()), sample((7, 3)), strict=True):
        for whole, ids, stopped in zip(endless.ids, ended.ids, ended.stopped, strict=True):
            pairs = list(itertools.pairwise(whole.tolist()))
            expected = whole[: pairs.index((7, 3)) + 2] if (7, 3) in pairs else whole
            np.testing.assert_array_equal(ids, expected)
            assert stopped == ((7, 3) in pairs)
            ends += stopped
    assert 0 < ends < 30


def test_samples_do_not_depend_on_other_prompts_or_their_order(divisible, reference, one_device):
    _, params = divisible
    prompts, sampler, expected = reference
    params = one_device.device_put(params)
    order = [3, 0, 4, 2, 1]
    permuted = sampler(params, [prompts[i] for i in order], 6, seed=1, step=2, prompt_indices=order)
    assert_same(permuted, [expected[i] for i in order])
    (alone,) = sampler(params, prompts[3:4], 2, seed=1, step=2, prompt_indices=[3], first_sample=4)
    np.testing.assert_array_equal(alone.ids[1], expected[3].ids[5])
    np.testing.assert_array_equal(alone.ids[0], expected[3].ids[4])


def test_seed_and_step_change_the_samples(divisible, reference, one_device):
    _, params = divisible
    prompts, sampler, expected = reference
    params = one_device.device_put(params)
    for changed in ({"seed": 2, "step": 2}, {"seed": 1, "step": 3}, {"seed": 2, "step": 1}):
        other = sampler(params, prompts, 6, **changed)
        same = [
            np.array_equal(a, b)
            for x, y in zip(other, expected, strict=True)
            for a, b in zip(x.ids, y.ids, strict=True)
        ]
        assert sum(same) < 6


def test_small_grids_that_grow_and_shrink_give_the_same_samples(divisible, reference, one_device, monkeypatch):
    """Room for 3 tokens at first; samples in turns of at most 4 rows; grids down to one row."""
    config, params = divisible
    prompts, _, expected = reference
    monkeypatch.setattr("rmjax.models.sampling.FIRST_ENTRIES", 3)
    monkeypatch.setattr("rmjax.models.sampling_plan.FEWEST_ROWS", 1)
    sampler = Sampler(config, FLOAT32, one_device, STOP, rows_per_device=4)
    assert_same(sampler(one_device.device_put(params), prompts, 6, seed=1, step=2), expected)


@pytest.mark.parametrize(
    "layout",
    [
        {"layout": "pmap", "devices": 3},
        {"layout": "fsdp", "devices": 4},
        {"layout": "tensor", "devices": 2},
        {"layout": "fsdp_tensor", "devices": 4, "tensor": 2},
    ],
    ids=lambda layout: layout["layout"],
)
def test_every_layout_gives_the_same_samples(divisible, reference, layout):
    config, params = divisible
    prompts, _, expected = reference
    over = make_layout(**layout)
    params = over.device_put(params)
    sampler = Sampler(config, FLOAT32, over, STOP)
    assert_same(sampler(params, prompts, 6, seed=1, step=2), expected)


def test_the_samples_of_one_prompt_are_divided_over_the_devices(divisible, reference):
    config, params = divisible
    prompts, _, expected = reference
    over = make_layout(layout="pmap", devices=2)
    sampler = Sampler(config, FLOAT32, over, STOP)
    assert_same(sampler(over.device_put(params), prompts[:1], 6, seed=1, step=2), expected[:1])


def test_prompts_and_models_that_cannot_be_sampled_are_refused(tiny_trunk, one_device):
    def sampler(settings=STOP, **changes):
        return Sampler(dataclasses.replace(tiny_trunk, **changes), FLOAT32, one_device, settings)

    with pytest.raises(InputError, match="a llama trunk is an encoder, which cannot generate"):
        sampler(causal=False)
    with pytest.raises(InputError, match=r"stop has the ids \(300,\), but the model has 300 tokens"):
        sampler(SamplingSettings(max_response=2, stop=(300,)))
    with pytest.raises(InputError, match="prompt 1 has no tokens"):
        sampler()({}, [np.ones(2, np.int32), np.ones(0, np.int32)], 1, seed=0)
    with pytest.raises(InputError, match="prompt 0 has 9 tokens, and max_response=23 more exceed the 31 positions"):
        sampler(max_positions=31)({}, [np.ones(9, np.int32)], 1, seed=0)
    assert sampler()({}, [], 1, seed=0) == []
