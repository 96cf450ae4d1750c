"""Tests of Hugging Face checkpoints: every family against torch, storage variants, and refused files.

tests/golden/generate.py writes the golden files.
"""

import json
import re

import huggingface_hub
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from golden.compare import (
    CAUSAL,
    GOLDEN,
    NAMES,
    NARROW,
    WIDE,
    as_examples,
    classify,
    copy_golden,
    edit_config,
    edit_tensors,
    load_language_model,
    load_reward,
    read_expected,
    read_logits,
    reward_module,
)
from naive import assert_close
from safetensors.numpy import load_file, save_file

import rmjax
from rmjax.errors import InputError
from rmjax.models.checkpoint_files import locate
from rmjax.models.config import HeadConfig
from rmjax.models.families import FAMILIES
from rmjax.models.pretrained import open_pretrained
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, parameter_shapes

FLOAT32 = jnp.dtype("float32")


def open_golden(name, kind="classifier"):
    return open_pretrained(str(GOLDEN / name / kind))


def assert_equal(actual, expected):
    """The same paths, dtypes and bits."""
    actual, expected = flatten_dict(actual, sep="/"), flatten_dict(expected, sep="/")
    assert actual.keys() == expected.keys()
    for path, value in expected.items():
        assert actual[path].dtype == value.dtype
        np.testing.assert_array_equal(actual[path], value, err_msg=path)


def test_every_family_has_golden_files():
    assert {open_golden(name).config.family for name in NAMES} == set(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_packed_hidden_states_and_scores_equal_those_of_torch(name):
    """Seven texts with three prompts, which a decoder shares, in two wide rows and in seven narrow ones."""
    pretrained, expected = open_golden(name), read_expected(name)
    params = load_reward(pretrained)
    for shape in (WIDE, NARROW):
        hidden, scores = classify(pretrained, params, as_examples(expected), shape)
        assert_close(hidden, expected["hidden"], tolerance=1e-4)
        assert_close(scores, expected["scores"], tolerance=1e-4)


@pytest.mark.parametrize("name", CAUSAL)
def test_logits_equal_those_of_torch(name):
    pretrained, expected = open_golden(name, "language_model"), read_expected(name)
    logits = read_logits(pretrained, load_language_model(pretrained), as_examples(expected), WIDE)
    assert_close(logits, expected["logits"], tolerance=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_loaded_parameters_match_those_of_init(name):
    """The same paths, shapes and dtypes, as a classifier and as a language model."""

    def described(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    pretrained = open_golden(name)
    assert described(load_reward(pretrained)) == described(parameter_shapes(reward_module(pretrained)))
    if name in CAUSAL:
        pretrained = open_golden(name, "language_model")
        module = LanguageModel(pretrained.config, jnp.dtype("float32"))
        assert described(load_language_model(pretrained)) == described(parameter_shapes(module))


@pytest.mark.parametrize("name", NAMES)
def test_a_bare_trunk_loads_without_a_head(tmp_path, name):
    """AutoModel stores no prefix. It includes the pooler of BERT, but not that of DistilBERT."""
    golden = open_golden(name)
    prefix = golden.family.prefix

    def strip(tensors):
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    edit_tensors(copy_golden(name, "classifier", tmp_path), strip)
    bare = open_pretrained(str(tmp_path))
    assert bare.bare
    assert bare.labels == ()
    params, left = bare.load(parameter_shapes(reward_module(bare)), heads=("helpful",))
    assert params.keys() == ({"trunk", "pooler"} if name == "bert" else {"trunk"})
    assert left == []
    assert_equal(params, {part: load_reward(golden)[part] for part in params})


@pytest.mark.parametrize("name", ["qwen3", "gpt_neox"])
def test_sharded_weights_equal_one_file(tmp_path, name):
    """The tensors of each parameter alternate between the two files."""
    copy_golden(name, "classifier", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    weight_map = {}
    for i, file in enumerate(("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")):
        shard = {key: tensors[key] for key in sorted(tensors)[i::2]}
        save_file(shard, tmp_path / file)
        weight_map |= dict.fromkeys(shard, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_equal(load_reward(open_pretrained(str(tmp_path))), load_reward(open_golden(name)))


@pytest.mark.parametrize(("name", "left"), [("llama", ["lm_head.weight"]), ("gpt_neox", ["embed_out.weight"])])
def test_the_head_of_a_language_model_is_not_loaded_but_reported(name, left):
    pretrained = open_golden(name, "language_model")
    params, found = pretrained.load(parameter_shapes(reward_module(pretrained)), heads=("helpful",))
    assert found == left
    assert params.keys() == {"trunk"}
    assert_equal(params["trunk"], load_language_model(pretrained)["trunk"])


def test_heads_of_other_tasks_are_not_loaded_but_reported(tmp_path):
    masked = {"cls.predictions.bias": np.zeros(64, np.float32)}
    edit_tensors(copy_golden("bert", "classifier", tmp_path), lambda tensors: {**tensors, **masked})
    pretrained = open_pretrained(str(tmp_path))
    params, left = pretrained.load(parameter_shapes(reward_module(pretrained)), heads=("helpful",))
    assert left == ["cls.predictions.bias"]
    assert_equal(params, load_reward(open_golden("bert")))


def test_two_heads_are_initialized_if_the_checkpoint_has_one_label():
    pretrained = open_golden("llama")
    module = reward_module(pretrained, ("helpful", "safety"))
    params, left = pretrained.load(parameter_shapes(module), heads=module.head.names)
    assert params.keys() == {"trunk"}
    assert left == ["score.weight"]


@pytest.mark.parametrize(("name", "head"), [("llama", "score"), ("bert", "classifier")])
def test_labels_become_heads_row_by_row(tmp_path, name, head):
    """In the order of their ids, not of their names."""
    rng = np.random.default_rng(0)
    rows = {f"{head}.weight": rng.normal(size=(2, 16)).astype(np.float32)}
    if name == "bert":
        rows[f"{head}.bias"] = rng.normal(size=2).astype(np.float32)
    edit_tensors(copy_golden(name, "classifier", tmp_path), lambda tensors: {**tensors, **rows})
    edit_config(tmp_path, id2label={"0": "safety", "1": "helpful"}, label2id={"safety": 0, "helpful": 1})
    pretrained = open_pretrained(str(tmp_path))
    assert pretrained.labels == ("safety", "helpful")
    module = reward_module(pretrained, pretrained.labels)
    reward = pretrained.load(parameter_shapes(module), heads=module.head.names)[0]["reward"]
    for i, label in enumerate(pretrained.labels):
        assert reward[label].tolist() == rows[f"{head}.weight"][i].tolist()
        if name == "bert":
            assert reward[f"{label}.bias"] == rows[f"{head}.bias"][i]


def test_a_head_with_a_bias_may_start_from_one_without():
    pretrained = open_golden("llama")
    shapes = parameter_shapes(
        RewardTransformer(pretrained.config, HeadConfig(("helpful",), "mean", bias=True), FLOAT32)
    )
    params, left = pretrained.load(shapes, heads=("helpful",))
    assert params["reward"]["helpful.bias"] == 0
    np.testing.assert_array_equal(params["reward"]["helpful"], load_reward(pretrained)["reward"]["helpful"])
    assert left == []


def test_weights_have_the_stored_dtype_or_the_requested_one(tmp_path):
    def narrow(tensors):
        return {key: value.astype(ml_dtypes.bfloat16) for key, value in tensors.items()}

    edit_tensors(copy_golden("gpt2", "classifier", tmp_path), narrow)
    pretrained = open_pretrained(str(tmp_path))
    shapes = parameter_shapes(reward_module(pretrained))
    stored, _ = pretrained.load(shapes, heads=("helpful",))
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16), load_reward(open_golden("gpt2")))
    assert_equal(stored, rounded)
    widened, _ = pretrained.load(shapes, heads=("helpful",), dtype=lambda path: jnp.dtype("float32"))
    assert_equal(widened, jax.tree.map(lambda x: x.astype(jnp.float32), rounded))


def test_every_parameter_is_put_once():
    pretrained = open_golden("gpt_neox")
    shapes = parameter_shapes(reward_module(pretrained))
    placed = []

    def place(path, array):
        placed.append(path)
        assert array.shape == flatten_dict(shapes, sep="/")[path].shape
        return jax.device_put(array, jax.devices()[3])

    params, _ = pretrained.load(shapes, heads=("helpful",), place=place)
    assert sorted(placed) == sorted(flatten_dict(shapes, sep="/"))
    assert {device for leaf in jax.tree.leaves(params) for device in leaf.devices()} == {jax.devices()[3]}
    assert_equal(params, load_reward(pretrained))


def test_a_loaded_parameter_does_not_change():
    """On a CPU a parameter may alias the memory that the file was read into."""
    pretrained = open_golden("llama")
    params = load_reward(pretrained)
    before = jax.tree.map(lambda x: np.array(x, copy=True), params)
    load_reward(open_golden("llama3"))
    assert_equal(params, before)


def test_gamma_and_beta_are_names_of_norms(tmp_path):
    def rename(tensors):
        def old(name):
            return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

        return {old(name): value for name, value in tensors.items()}

    edit_tensors(copy_golden("bert", "classifier", tmp_path), rename)
    assert sum(name.endswith((".gamma", ".beta")) for name in load_file(tmp_path / "model.safetensors")) == 10
    assert_equal(load_reward(open_pretrained(str(tmp_path))), load_reward(open_golden("bert")))


@pytest.mark.parametrize(
    ("name", "buffer"),
    [
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("gpt2", "transformer.h.1.attn.masked_bias"),
        ("gpt_neox", "gpt_neox.layers.1.attention.bias"),
        ("bert", "bert.embeddings.position_ids"),
    ],
)
def test_buffers_of_old_versions_are_ignored(tmp_path, name, buffer):
    edit_tensors(
        copy_golden(name, "classifier", tmp_path), lambda tensors: {**tensors, buffer: np.zeros(3, np.float32)}
    )
    assert_equal(load_reward(open_pretrained(str(tmp_path))), load_reward(open_golden(name)))


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def with_shape(name, shape):
    return lambda tensors: {**tensors, name: np.zeros(shape, np.float32)}


def cut(folder, count):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:count])


def write_index(folder, text):
    (folder / "model.safetensors.index.json").write_text(text)


def pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"has no config.json: give a folder that save_pretrained"),
        (
            lambda folder: (folder / "config.json").write_text("{"),
            r"config.json is not a model's config.* no model_type",
        ),
        (
            lambda folder: (folder / "config.json").write_text("{}"),
            r"config.json is not a model's config.* no model_type",
        ),
        (lambda folder: cut(folder, -100), r"model.safetensors is damaged or cut short \(.+\): fetch it again"),
        (lambda folder: cut(folder, 50), r"model.safetensors is damaged or cut short \(.+\): fetch it again"),
        (lambda folder: cut(folder, 0), r"model.safetensors is damaged or cut short \(.+\): fetch it again"),
        (
            lambda folder: write_index(folder, '{"weight_map": {"score.weight": "model-2.safetensors"}}'),
            r"model-2.safetensors is missing, though the checkpoint's index names it",
        ),
        (lambda folder: write_index(folder, "{"), r"index.json does not list tensors and their files"),
        (lambda folder: write_index(folder, '{"metadata": {}}'), r"index.json does not list tensors and their files"),
        (pickle_only, r"holds no model.safetensors \(only pytorch_model.bin, which is pickled and could run code\)"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"holds no model.safetensors: write one with"),
        (
            lambda folder: edit_config(folder, model_type="mamba"),
            r"unknown architecture 'mamba' \(class LlamaForSequenceClassification in \S+/config.json\): known are "
            r"llama, mistral, qwen2, .*, distilbert$",
        ),
        (lambda folder: edit_config(folder, model_type=["llama"]), r"unknown architecture .*llama.*: known are llama,"),
        (
            lambda folder: edit_config(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
            r"is quantized: use the full weights",
        ),
        (
            lambda folder: edit_config(folder, rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}),
            r"unsupported rope_type 'yarn' in config.json: known are default, linear, llama3",
        ),
        (
            lambda folder: edit_config(folder, hidden_act="relu2"),
            r"unsupported activation 'relu2' in config.json: known are silu, ",
        ),
        (
            lambda folder: edit_config(folder, num_attention_heads=3),
            r"transformers refuses .*config.json \(.*16.* not a multiple .*\(3\).*\)",
        ),
        (lambda folder: edit_config(folder, hidden_size="16"), r"transformers refuses .*config.json \(.*'hidden_size'"),
        (
            lambda folder: edit_config(folder, num_key_value_heads=3),
            r"model.heads=4 is not a multiple of model.kv_heads=3",
        ),
        (
            lambda folder: edit_tensors(folder, without("model.norm.weight")),
            r"lacks the tensor 'model.norm.weight': does its config.json belong to it",
        ),
        (
            lambda folder: edit_config(folder, num_hidden_layers=3),
            r"lacks the tensor 'model.layers.2.input_layernorm.weight' and 8 more",
        ),
        (
            lambda folder: edit_config(folder, num_hidden_layers=1),
            r"holds the tensor 'model.layers.1.\S+' and 8 more, which a llama trunk of its config.json "
            r"\(class LlamaForSequenceClassification\) does not have: save it without them",
        ),
        (
            lambda folder: edit_tensors(folder, with_shape("model.layers.0.self_attn.q_proj.bias", 16)),
            r"holds the tensor 'model.layers.0.self_attn.q_proj.bias', which a llama trunk",
        ),
        (
            lambda folder: edit_tensors(folder, with_shape("model.layers.1.mlp.up_proj.weight", (20, 17))),
            r"'model.layers.1.mlp.up_proj.weight' has the shape \(17, 20\), its config.json says \(16, 20\)",
        ),
        (
            lambda folder: edit_config(folder, vocab_size=65),
            r"'model.embed_tokens.weight' has the shape \(64, 16\), its config.json says \(65, 16\)",
        ),
        (
            lambda folder: edit_tensors(folder, with_shape("model.embed_tokens.weight", 16)),
            r"'model.embed_tokens.weight' has the shape \(16,\), its config.json says \(64, 16\)",
        ),
        (
            lambda folder: edit_tensors(folder, with_shape("score.weight", (2, 16))),
            r"'score.weight' has the shape \(2, 16\), its config.json says \(1, 16\)",
        ),
    ],
)
def test_an_unusable_checkpoint_is_refused_in_one_sentence(tmp_path, damage, message):
    damage(copy_golden("llama", "classifier", tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        load_reward(open_pretrained(str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("bert", {"is_decoder": True}, "is_decoder is True, only False is known"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is True"),
    ],
)
def test_unsupported_variants_are_refused(tmp_path, name, fields, message):
    edit_config(copy_golden(name, "classifier", tmp_path), **fields)
    with pytest.raises(InputError, match=f"unsupported config.json: {message}"):
        open_pretrained(str(tmp_path))


@pytest.mark.parametrize("fields", [{"is_causal": False}, {"use_bidirectional_attention": True}])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_a_bidirectional_decoder_is_refused(tmp_path, name, fields):
    ((field, value),) = fields.items()
    folder = copy_golden(name, "classifier", tmp_path)
    edit_config(folder, **fields, auto_map={"AutoModel": "modeling_both.BothWays"})
    message = rf"config.json says {field} = {value} \(class BothWays\): with {name} only causal attention is supported"
    with pytest.raises(InputError, match=message):
        open_pretrained(str(folder))
    edit_config(folder, **{field: not value})
    open_pretrained(str(folder))


@pytest.mark.parametrize("name", NAMES)
def test_classes_of_transformers_give_no_warning(capsys, tmp_path, name):
    for kind in ("classifier", "language_model") if name in CAUSAL else ("classifier",):
        open_golden(name, kind)
    stem = open_golden(name).family.classes[1].removesuffix("ForSequenceClassification")
    folder = copy_golden(name, "classifier", tmp_path)
    for named in ([f"{stem}Model"], [], None):
        edit_config(folder, architectures=named, auto_map={"AutoConfig": "configuration_own.OwnConfig"})
        open_pretrained(str(folder))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"architectures": ["LlamaBiForSequenceClassification"]}, "LlamaBiForSequenceClassification"),
        ({"architectures": ["LlamaForTokenClassification"]}, "LlamaForTokenClassification"),
        ({"auto_map": {"AutoModelForSequenceClassification": "org/name--modeling.PoolingLlama"}}, "PoolingLlama"),
    ],
)
def test_an_unknown_class_gives_a_warning(capsys, tmp_path, fields, named):
    edit_config(copy_golden("llama", "classifier", tmp_path), **fields)
    open_pretrained(str(tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/config.json names the class {named}, which is read as LlamaForSequenceClassification: " in line


def test_an_unknown_class_without_a_head_is_read_as_a_language_model(capsys, tmp_path):
    edit_config(copy_golden("llama", "language_model", tmp_path), architectures=["LlamaForReward"])
    open_pretrained(str(tmp_path))
    assert "names the class LlamaForReward, which is read as LlamaForCausalLM: " in capsys.readouterr().err


def adapter(folder):
    """Renames the files as peft saves an adapter."""
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


@pytest.mark.parametrize("configured", [True, False])
def test_an_adapter_is_refused_with_advice(tmp_path, configured):
    folder = copy_golden("llama", "classifier", tmp_path)
    adapter(folder)
    if not configured:
        (folder / "config.json").unlink()
    message = (
        r"holds an adapter \(adapter_config.json\), not a whole model: .* with peft's merge_and_unload\(\) and save"
    )
    for opened in (open_pretrained, rmjax.load):
        with pytest.raises(InputError, match=message):
            opened(str(folder))


def test_a_merged_model_may_have_an_adapter_config(tmp_path):
    (copy_golden("llama", "classifier", tmp_path) / "adapter_config.json").write_text("{}")
    open_pretrained(str(tmp_path))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "consolidated.00.pth"])
def test_pickles_are_refused_by_all_loaders(tmp_path, name):
    folder = copy_golden("llama", "classifier", tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    for opened in (open_pretrained, rmjax.load):
        with pytest.raises(
            InputError, match=rf"no model.safetensors \(only {name}, which is pickled and could run code"
        ):
            opened(str(folder))


@pytest.mark.parametrize(
    ("name", "tensor", "shape", "whole"),
    [
        ("gpt_neox", "gpt_neox.layers.0.attention.query_key_value.weight", (36, 16), (48, 16)),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", (16, 45), (16, 48)),
    ],
)
def test_the_shape_of_a_fused_tensor_is_checked(tmp_path, name, tensor, shape, whole):
    edit_tensors(copy_golden(name, "classifier", tmp_path), with_shape(tensor, shape))
    with pytest.raises(InputError, match=re.escape(f"{tensor}' has the shape {shape}, its config.json says {whole}")):
        load_reward(open_pretrained(str(tmp_path)))


def test_a_local_folder_replaces_a_hub_name(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)  # must not be called
    opened = open_pretrained("meta/llama", str(GOLDEN / "llama" / "classifier"))
    assert opened.folder == GOLDEN / "llama" / "classifier"


def test_downloads_exclude_pickles_and_code(monkeypatch, tmp_path):
    asked = {}

    def fetch(name, *, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert locate("meta/llama") == tmp_path
    assert asked["name"] == "meta/llama"
    files = ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json"]
    unwanted = ["pytorch_model.bin", "modeling_llama.py", "consolidated.00.pth", "tf_model.h5", "model.onnx"]
    assert list(huggingface_hub.utils.filter_repo_objects(files + unwanted, allow_patterns=asked["patterns"])) == files


def test_a_failed_download_names_two_alternatives(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    message = (
        r"nobody/none are not on this machine.*disabled.*run `hf download nobody/none`.*--config.model.path=FOLDER"
    )
    with pytest.raises(InputError, match=message) as caught:
        locate("nobody/none")
    assert "\n" not in str(caught.value)


def test_a_network_error_is_one_line(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(InputError, match=r"could not be fetched \(no route to host\): run `hf download nobody/none`"):
        locate("nobody/none")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*absent: model.path names the local copy of meta/llama"):
        open_pretrained("meta/llama", str(tmp_path / "absent"))
