"""Tests of the export to Hugging Face's format: every tensor and setting of every family round-trips."""

import dataclasses
import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from golden.compare import CAUSAL, GOLDEN, NAMES, load_language_model, load_reward
from safetensors.numpy import load_file

from rmjax.errors import InputError
from rmjax.models import export
from rmjax.models.config import RopeScaling
from rmjax.models.export import write_pretrained
from rmjax.models.pretrained import open_pretrained
from rmjax.models.transformer import LanguageModel, parameter_shapes

FLOAT32 = np.dtype("float32")


def open_golden(name, kind="classifier"):
    return open_pretrained(str(GOLDEN / name / kind))


def write_classifier(folder, name, **changes):
    """Loads the golden classifier and exports it."""
    golden = open_golden(name)
    arguments = {"head": "helpful", "dtype": FLOAT32, "fields": {"pad_token_id": 0}, **changes}
    write_pretrained(folder, golden.config, load_reward(golden), **arguments)
    return golden


def read_tensors(folder):
    """Returns the tensors of all files of a folder."""
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def assert_same_tensors(actual, expected):
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype
        np.testing.assert_array_equal(actual[name], tensor, err_msg=name)


def read_json(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_round_trips(tmp_path, name):
    golden = write_classifier(tmp_path, name)
    assert_same_tensors(read_tensors(tmp_path), read_tensors(golden.folder))
    reopened = open_pretrained(str(tmp_path))
    assert reopened.config == golden.config
    assert reopened.labels == ("helpful",)
    assert read_json(tmp_path)["architectures"] == read_json(golden.folder)["architectures"]
    assert read_json(tmp_path)["pad_token_id"] == 0


@pytest.mark.parametrize("name", CAUSAL)
def test_a_language_model_round_trips(tmp_path, name):
    """Tied output weights are not written twice."""
    golden = open_golden(name, "language_model")
    params = load_language_model(golden)
    write_pretrained(tmp_path, golden.config, params, head=None, dtype=FLOAT32, fields={})
    assert_same_tensors(read_tensors(tmp_path), read_tensors(golden.folder))
    reopened = open_pretrained(str(tmp_path))
    assert reopened.config == golden.config
    assert reopened.labels == ()
    assert read_json(tmp_path)["architectures"] == read_json(golden.folder)["architectures"]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_config_json_is_written(tmp_path, name):
    """torch also uses settings that our reader may miss."""
    read = read_json(GOLDEN / name / "classifier")
    special = {field: read[field] for field in ("pad_token_id", "bos_token_id", "eos_token_id") if field in read}
    write_classifier(tmp_path, name, fields=special)
    written = read_json(tmp_path)
    # Labels get new names, and layer_types replaces max_window_layers.
    for field in read.keys() - {"id2label", "label2id", "transformers_version", "max_window_layers"}:
        assert written[field] == pytest.approx(read[field]), field


def test_rope_settings_are_written_for_old_and_new_transformers(tmp_path):
    """Before version 5, rope_theta and rope_scaling were separate fields, with other names for GPT-NeoX."""
    write_classifier(tmp_path / "scaled", "llama3")
    record = read_json(tmp_path / "scaled")
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 40,
    }
    assert (record["rope_theta"], record["rope_scaling"]) == (100.0, scaling)
    assert record["rope_parameters"] == {"rope_theta": 100.0, **scaling}
    write_classifier(tmp_path / "partial", "gpt_neox")
    record = read_json(tmp_path / "partial")
    assert (record["rotary_pct"], record["rotary_emb_base"], record["rope_scaling"]) == (0.5, 100.0, None)
    assert record["rope_parameters"] == {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}
    write_classifier(tmp_path / "plain", "llama")
    record = read_json(tmp_path / "plain")
    assert (record["rope_theta"], record["rope_scaling"]) == (100.0, None)


@pytest.mark.parametrize("name", ["llama3", "gpt_neox"])
def test_the_rope_fields_of_old_transformers_suffice(tmp_path, name):
    """Without `rope_parameters` the file reads as a checkpoint of transformers 4."""
    golden = write_classifier(tmp_path, name)
    record = read_json(tmp_path)
    del record["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    assert open_pretrained(str(tmp_path)).config == golden.config


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": RopeScaling(4.0)},
        {"activation": "gelu_tanh"},
        {"window": 3, "local_layers": (True, False), "family": "qwen2", "query_bias": True},
        {"tie_embeddings": True},
        {"family": "mistral", "window": 0, "local_layers": ()},
        {"family": "gpt_neox", "parallel": False, "rotary_dim": 0, "activation": "gelu_tanh", "tie_embeddings": True},
        {"family": "gpt_neox", "query_bias": False, "out_bias": False},
        {"family": "gpt2", "activation": "gelu", "tie_embeddings": False},
        {"attention_cap": 0.0, "output_cap": 0.0, "attention_scale": 7**-0.5, "family": "gemma2"},
    ],
)
def test_settings_without_a_golden_file_round_trip(tmp_path, changes):
    base = open_golden(changes.get("family", "llama")).config
    config = dataclasses.replace(base, **changes)
    shapes = parameter_shapes(LanguageModel(config, jnp.dtype("float32")))
    params = {part: fill_with_zeros(tree) for part, tree in shapes.items()}
    write_pretrained(tmp_path, config, params, head=None, dtype=FLOAT32, fields={})
    assert open_pretrained(str(tmp_path)).config == config


def fill_with_zeros(tree):
    return {key: fill_with_zeros(x) if isinstance(x, dict) else np.zeros(x.shape, x.dtype) for key, x in tree.items()}


def test_large_weights_are_divided_into_files_with_an_index(monkeypatch, tmp_path):
    limit = 6000
    monkeypatch.setattr(export, "SHARD_BYTES", limit)
    golden = write_classifier(tmp_path, "gpt2")
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == [f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = {file: load_file(tmp_path / file) for file in files}
    for shard in shards.values():
        assert len(shard) == 1 or sum(tensor.nbytes for tensor in shard.values()) <= limit
    assert index["weight_map"] == {name: file for file, shard in shards.items() for name in shard}
    expected = read_tensors(golden.folder)
    assert len(files) >= sum(tensor.nbytes for tensor in expected.values()) / limit > 2
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
    assert_same_tensors(read_tensors(tmp_path), expected)


def test_weights_and_config_json_have_the_requested_dtype(tmp_path):
    golden = write_classifier(tmp_path, "qwen3", dtype=np.dtype(ml_dtypes.bfloat16))
    rounded = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in read_tensors(golden.folder).items()}
    assert_same_tensors(read_tensors(tmp_path), rounded)
    assert read_json(tmp_path)["dtype"] == "bfloat16"


def test_the_named_one_of_several_heads_is_written(tmp_path):
    golden = open_golden("bert")
    values = {"helpful": 2.0, "safety": 7.0, "humour": 4.0}
    reward = {name: np.full(16, value, np.float32) for name, value in values.items()}
    reward |= {f"{name}.bias": np.float32(-value) for name, value in values.items()}
    params = {**load_reward(golden), "reward": reward}
    write_pretrained(tmp_path, golden.config, params, head="safety", dtype=FLOAT32, fields={})
    tensors = read_tensors(tmp_path)
    assert tensors["classifier.weight"].tolist() == [[7.0] * 16]
    assert tensors["classifier.bias"].tolist() == [-7.0]
    assert read_json(tmp_path)["id2label"] == {"0": "safety"}


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_an_encoder_is_not_exported_as_a_language_model(tmp_path, name):
    golden = open_golden(name)
    with pytest.raises(InputError, match=f"{name} has no causal language model to export"):
        write_pretrained(tmp_path / "out", golden.config, {}, head=None, dtype=FLOAT32, fields={})
    assert not (tmp_path / "out").exists()


def test_biases_without_a_field_in_llama_are_refused(tmp_path):
    """torch would run the exported model without them."""
    golden = open_golden("llama3")
    config = dataclasses.replace(golden.config, out_bias=False)
    with pytest.raises(InputError, match="the bias on queries, unlike that on the output"):
        write_pretrained(tmp_path, config, load_reward(golden), head="helpful", dtype=FLOAT32, fields={})
