"""Reward models whose heads have other names or a hidden layer, against the same weights in transformers' class."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import user
from naive import assert_close
from safetensors.numpy import load_file, save_file
from tiny_checkpoints import SIZES, TEXTS, random_params

import rmjax
from rmjax.data.bpe import train_bpe
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig, default_head
from rmjax.models.export import write_pretrained
from rmjax.models.families.heads import HEADS
from rmjax.models.reward import RewardTransformer
from rmjax.scoring.hub import export_reward_model
from rmjax.scoring.language_model import load_language_model

CONFIG = TransformerConfig(
    **{**SIZES, "kv_heads": 2}, vocab_size=300, rope_theta=100.0, norm_eps=1e-5, tie_embeddings=False
)
PROMPTS = [user("What is the capital of France?"), user("Why?")]
RESPONSES = [["Paris, of course.", "No."], ["Because.", "I will not help with that.", ""]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of a Llama with one label, as transformers writes it."""
    folder = tmp_path_factory.mktemp("plain")
    params = random_params(RewardTransformer(CONFIG, default_head(("score",), CONFIG), jnp.dtype("float32")))
    write_pretrained(folder, CONFIG, params, head="score", dtype=np.dtype("float32"), fields={})
    train_bpe(TEXTS, 300).save_pretrained(folder)
    return folder


def changed(plain, folder, architecture, tensors):
    """The same model with other tensors in place of `score.weight`, and another class in config.json."""
    folder.mkdir()
    for path in plain.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    trunk = {name: each for name, each in load_file(plain / "model.safetensors").items() if name != "score.weight"}
    save_file(trunk | tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    for name in ("id2label", "label2id", "num_labels"):
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))
    return folder


def scores(folder):
    model = rmjax.load(folder)
    return model, np.concatenate([scores[:, 0] for scores in model.score_groups(PROMPTS, RESPONSES).raw])


@pytest.mark.parametrize("head", [head for head in HEADS if not head.hidden], ids=lambda head: head.output)
@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_head_of_another_name_scores_as_the_same_head_of_transformers(plain, tmp_path, capsys, head, bias):
    weight = load_file(plain / "model.safetensors")["score.weight"]
    tensors = {f"{head.output}.weight": weight} | ({f"{head.output}.bias": np.float32([0.75])} if bias else {})
    tensors |= {f"{prefix}x": np.zeros((3, 16), np.float32) for prefix in head.others}
    model, found = scores(changed(plain, tmp_path / "other", "EurusRewardModel", tensors))
    _, expected = scores(plain)
    assert_close(found, expected + 0.75 * bias)
    assert model.heads == ("LABEL_0",)
    assert "names the class EurusRewardModel" in capsys.readouterr().err


def test_a_hidden_layer_is_computed_before_the_head(plain, tmp_path):
    """relu(h W + b) v + c, with h the features that the plain model's head reads."""
    rng = np.random.default_rng(0)
    hidden, bias = rng.normal(size=(16, 16)).astype(np.float32), rng.normal(size=16).astype(np.float32)
    output, last = rng.normal(size=(1, 16)).astype(np.float32), np.float32([0.5])
    tensors = {"score.0.weight": hidden, "score.0.bias": bias, "score.2.weight": output, "score.2.bias": last}
    model, found = scores(changed(plain, tmp_path / "mlp", "Qwen2ForRewardModel", tensors))
    features = np.concatenate(rmjax.load(plain).features(PROMPTS, RESPONSES))
    assert_close(found, (np.maximum(features @ hidden.T + bias, 0) @ output.T + last)[:, 0])
    with pytest.raises(InputError, match="a hidden layer before its head cannot be exported"):
        export_reward_model(model, tmp_path / "out", head=None, dtype="float32")


def test_several_outputs_are_heads(plain, tmp_path):
    weights = np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32)
    model, _ = scores(
        changed(plain, tmp_path / "three", "LlamaForRewardModelWithGating", {"regression_layer.weight": weights})
    )
    features = np.concatenate(rmjax.load(plain).features(PROMPTS, RESPONSES))
    found = np.concatenate(model.score_groups(PROMPTS, RESPONSES).raw)
    assert model.heads == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert_close(found, features @ weights.T)


def test_a_classifier_does_not_generate(plain):
    with pytest.raises(InputError, match=r"is a reward model \(class Llama\w+\), which cannot generate"):
        load_language_model(plain)


@pytest.mark.parametrize("tied", [False, True])
def test_the_logit_of_a_token_is_the_score(plain, tmp_path, tied):
    """The features that the plain model's head reads, times the token's row of the output layer or of the table."""
    stored, table = load_file(plain / "model.safetensors"), "model.embed_tokens.weight"
    output = np.random.default_rng(2).normal(size=stored[table].shape).astype(np.float32)
    folder = changed(plain, tmp_path / "nemotron", "LlamaForCausalLM", {} if tied else {"lm_head.weight": output})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": tied}))
    with pytest.raises(InputError, match="has no sequence-classification head"):
        rmjax.load(folder)
    model = rmjax.load(folder, logit=7)
    features = np.concatenate(rmjax.load(plain).features(PROMPTS, RESPONSES))
    found = np.concatenate(model.score_groups(PROMPTS, RESPONSES).raw)
    assert model.heads == ("logit of 7",)
    assert_close(found[:, 0], features @ (stored[table] if tied else output)[7])


def test_a_logit_needs_a_language_model(plain, tmp_path, reward_model):
    with pytest.raises(InputError, match="is no language model, so no token has a logit"):
        rmjax.load(plain, logit=0)
    folder = changed(plain, tmp_path / "lm", "LlamaForCausalLM", {"lm_head.weight": np.zeros((300, 16), np.float32)})
    with pytest.raises(InputError, match="logit=300 is no id of the 300"):
        rmjax.load(folder, logit=300)


def test_a_head_of_an_unknown_name_is_named(plain, tmp_path):
    folder = changed(plain, tmp_path / "unknown", "X", {"my_head.weight": np.zeros((1, 16), np.float32)})
    with pytest.raises(InputError, match=r"has no sequence-classification head.*it holds my_head\.weight"):
        rmjax.load(folder)
