"""Tests of sampling against the forward pass over whole rows, on all layouts and in any order."""

import dataclasses

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
