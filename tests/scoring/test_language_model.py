"""Tests of generating text: loading, truncation of prompts, and agreement of text, tokens and log-probability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import user
from naive import make_example, make_params, one_bin
from tiny_checkpoints import write_bert, write_llama

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.models.config import default_head
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel
from rmjax.scoring.checkpoint import save_checkpoint
from rmjax.scoring.contract import Contract
from rmjax.scoring.language_model import LoadedLanguageModel, load_language_model

FLOAT32 = jnp.dtype("float32")


@pytest.fixture(scope="module")
def model(tiny_trunk, tokenizer, one_device):
    params = one_device.device_put(make_params(LanguageModel(tiny_trunk, FLOAT32)))
    return LoadedLanguageModel(params, tiny_trunk, FLOAT32, tokenizer, one_device)


def save(root, kind, model, params):
    contract = Contract(
        kind=kind,
        step=3,
        trunk=model.config,
        head=default_head(("a",) if kind == "reward_model" else (), model.config),
        compute_dtype="float32",
        **model.tokenizer.stated(),
        data={"source": "made up", "start": "nothing"},
    )
    return save_checkpoint(root, contract, model.tokenizer, params, {"step": jnp.zeros(())}, keep=1)


PROMPTS = [user("How do I boil an egg?"), user("Why? " * 30)]


def test_text_tokens_and_log_probability_are_those_of_the_sampled_ids(model):
    sampler = model.sampler(model.settings())
    assert sampler.settings.max_response == 12 + len(model.tokenizer.ending)
    assert sampler.settings.stop == model.tokenizer.ending
    generated = model.generate(PROMPTS, 3, seed=5, sampler=sampler)
    encoded = [ids for ids, _ in model.encode_prompts(PROMPTS, sampler.settings.max_response)]
    samples = sampler(model.params, encoded, 3, seed=5)
    for responses, of_prompt in zip(generated.responses, samples, strict=True):
        for response, ids, log_probs, stopped in zip(responses, *of_prompt, strict=True):
            assert response.text == model.tokenizer.decode_response(ids.tolist())
            assert response.tokens == len(ids)
            assert response.logprob == pytest.approx(log_probs.sum(), rel=1e-6)
            assert response.stopped == stopped


def test_log_probabilities_of_given_responses_are_those_of_the_logits(model):
    """The sum over the tokens of the text and its ending, of every response alone."""
    texts = [["Boil it.", "No."], ["Because."]]
    prompts = [user("How do I boil an egg?"), user("Why?")]
    found = model.log_probs(prompts, texts)
    module = LanguageModel(model.config, model.dtype)
    params = model.layout.unreplicate(model.params)
    for prompt, group, values in zip(prompts, texts, found, strict=True):
        for text, value in zip(group, values, strict=True):
            (before,) = model.tokenizer.encode_prompts([prompt])
            (answer,) = model.tokenizer.encode_responses([before], [text])
            batch, _ = one_bin([make_example(before.ids, [answer.ids])], BatchShape(1, 48, 1, 1))
            log_p = np.asarray(jax.nn.log_softmax(module.apply({"params": params}, batch)))[0]
            first = len(before.ids)
            own = [log_p[first + t - 1, token] for t, token in enumerate(answer.ids)]
            assert value == pytest.approx(sum(own), rel=1e-5)


def test_a_model_says_what_it_is(model, tmp_path):
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params)) / 1e6
    facts = f"llama, 2 layers of width 16, {count:.3g}M parameters; prompts of 24 and responses of 12 tokens"
    save(tmp_path / "run", "language_model", model, model.layout.unreplicate(model.params))
    assert repr(load_language_model(tmp_path / "run", devices=1)) == f"LoadedLanguageModel({facts}; 3 steps on made up)"


def test_a_long_prompt_loses_its_first_tokens(model):
    """24 tokens are left of a prompt if the response may have 12."""
    (_, short), (ids, cut) = model.encode_prompts(PROMPTS, 12 + len(model.tokenizer.ending))
    (whole,) = model.tokenizer.encode_prompts(PROMPTS[1:])
    assert short == 0
    assert len(ids) == 24
    assert cut == len(whole.ids) - 24 > 0
    np.testing.assert_array_equal(ids, whole.ids[-24:])


def test_a_later_part_of_the_prompts_has_the_same_responses(model):
    sampler = model.sampler(model.settings(max_response=4))
    together = model.generate(PROMPTS, 1, sampler=sampler)
    later = model.generate(PROMPTS[1:], 1, first_prompt=1, sampler=sampler)
    assert later.responses[0][0].text == together.responses[1][0].text


def test_a_checkpoint_loads_with_its_parameters_and_limits(model, tmp_path, one_device):
    params = one_device.unreplicate(model.params)
    save(tmp_path / "checkpoints", "language_model", model, params)
    loaded = load_language_model(tmp_path, devices=1)
    assert (loaded.config, loaded.dtype) == (model.config, model.dtype)
    assert loaded.tokenizer.stated() == model.tokenizer.stated()
    jax.tree.map(np.testing.assert_array_equal, loaded.params, model.params)
    with pytest.raises(InputError, match="states its own settings"):
        load_language_model(tmp_path, template="markers")


def test_a_reward_model_is_refused_with_the_folder_of_its_language_model(model, tmp_path, tiny_trunk):
    params = make_params(RewardTransformer(tiny_trunk, default_head(("a",), tiny_trunk), FLOAT32))
    save(tmp_path / "checkpoints", "reward_model", model, params)
    (tmp_path / "sft").mkdir()
    with pytest.raises(InputError, match=f"is a reward model, which cannot generate.*is in {tmp_path}/sft"):
        load_language_model(tmp_path)


def test_a_hugging_face_folder_generates_and_an_encoder_is_refused(tmp_path):
    params = write_llama(tmp_path / "llama")
    loaded = load_language_model(tmp_path / "llama", devices=1, template="transcript")
    assert loaded.tokenizer.max_length == 64
    np.testing.assert_array_equal(loaded.params["output"]["kernel"][0], params["output"]["kernel"])
    generated = loaded.generate(PROMPTS[:1], 2, sampler=loaded.sampler(loaded.settings(max_response=3)))
    assert [response.tokens for response in generated.responses[0]] == [3, 3]
    write_bert(tmp_path / "bert")
    with pytest.raises(InputError, match="is an encoder, which cannot generate"):
        load_language_model(tmp_path / "bert", template="transcript")
