"""Runs with low-rank adapters on a tiny pretrained trunk: SFT, reward model, resumption, export."""

import dataclasses
import importlib
import json

import jax
import numpy as np
import pytest
from scripts import call
from test_pretrained_runs import assert_equal_trees, run, settings, stored
from tiny_checkpoints import write_comparisons, write_llama

import rmjax
from experiments import train
from rmjax.errors import InputError
from rmjax.models.lora import Lora, merge, split
from rmjax.scoring.adapter_export import export_adapter
from rmjax.stages.parsing import parse
from rmjax.stages.settings import RunSettings

pytestmark = pytest.mark.usefixtures("quick_compilation")

LORA = {"lora.rank": 2, "lora.alpha": 4.0, "lora.targets": "query,value,up"}
MOVING = {"model.compute_dtype": "float32", "train.max_steps": 4, "train.optimizer.learning_rate": 3e-2}
VARIANT = "tinyllama"  # a chat model: the reward model starts from it without SFT


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """(folder, parameters) of a language model."""
    folder = tmp_path_factory.mktemp("llama")
    return folder, write_llama(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = write_comparisons(tmp_path_factory.mktemp("data") / "all.jsonl", 28)
    return {f"data.{name}": f"jsonl:{path}{part}" for name, part in (("train", "[:20]"), ("eval", "[20:]"))}


@pytest.fixture(scope="module")
def adapted(llama, data, tmp_path_factory):
    """The run directory of a reward model with adapters, on weights in bfloat16."""
    config = settings("helpful", VARIANT, llama[0], data, **LORA, **MOVING, **{"lora.frozen_dtype": "bfloat16"})
    return run(train, config, tmp_path_factory.mktemp("adapted") / "run")


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_trains_adapters_and_head_alone(adapted, llama):
    params, contract = stored(adapted)
    assert contract.trunk.lora == Lora(2, 4.0, ("query", "value", "up"))
    trained, frozen = split(params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(frozen)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(trained)} == {"float32"}
    assert_equal_trees(frozen["trunk"], jax.tree.map(lambda x: np.asarray(x, "bfloat16"), llama[1]["trunk"]))
    assert np.any(trained["trunk"]["blocks"]["mlp"]["up"]["lora_b"])  # it began as zeros


def test_the_adapted_model_loads_and_differs_from_its_start(adapted, llama):
    model = rmjax.load(adapted, devices=1)  # verifies the canaries
    answers = ["No.", "The answer to 3 is 4, of course."]
    scores = model.score("What is 3?", answers)
    merged = model.merged()
    assert merged.contract.trunk.lora is None
    np.testing.assert_allclose(merged.score("What is 3?", answers), scores, rtol=1e-4, atol=1e-4)
    head = {"reward": model.layout.unreplicate(model.params)["reward"]}
    start = rmjax.scoring.reward_model.RewardModel(
        model.layout.device_put({"trunk": llama[1]["trunk"], **head}), merged.contract, model.tokenizer, model.layout
    )
    assert np.abs(start.score("What is 3?", answers) - scores).max() > 1e-2


def test_a_resumed_run_is_the_uninterrupted_one(llama, data, tmp_path):
    fields = {**LORA, **MOVING, "lora.frozen_dtype": "bfloat16", "train.checkpoint_every": 2, "train.keep": 2}
    config = settings("helpful", VARIANT, llama[0], data, **fields)
    whole, resumed = run(train, config, tmp_path / "whole"), run(train, config, tmp_path / "resumed")
    for name in ("evaluation.json", "manifest.json", "checkpoints/000004/manifest.json"):
        (resumed / name).unlink()
    again = run(train, config, resumed)
    assert_equal_trees(stored(whole)[0], stored(again)[0])
    losses = [[row["loss"] for row in rows(path) if "loss" in row] for path in (whole, again)]
    assert losses[0] == losses[1]


def test_sft_has_adapters_too_and_the_reward_model_starts_from_merged_weights(llama, data, tmp_path):
    fields = {**LORA, "model.compute_dtype": "float32", "sft.max_steps": 3, "sft.optimizer.learning_rate": 3e-2}
    config = settings("helpful", "llama-2-7b", llama[0], data, **fields, **{"train.max_steps": 1})
    workdir = run(train, config, tmp_path / "run")
    first, of_sft = stored(workdir / "sft")
    assert of_sft.trunk.lora is not None
    merged = merge(first, of_sft.trunk.lora)
    frozen = split(stored(workdir)[0])[1]
    assert_equal_trees(frozen["trunk"], merged["trunk"])
    moved = np.abs(
        merged["trunk"]["blocks"]["mlp"]["up"]["kernel"] - llama[1]["trunk"]["blocks"]["mlp"]["up"]["kernel"]
    )
    assert moved.max() > 1e-3
    exported = call("export", f"--checkpoint={workdir / 'sft'}", f"--output={tmp_path / 'lm'}")
    assert exported.returncode == 0, exported.stderr
    written = rmjax.models.pretrained.open_pretrained(str(tmp_path / "lm"))
    found, _ = written.load(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), merged))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, merged)


def test_an_exported_model_has_merged_weights(adapted, tmp_path):
    done = call("export", f"--checkpoint={adapted}", f"--output={tmp_path / 'whole'}")
    assert done.returncode == 0, done.stderr  # it scores the canaries as the original
    assert rmjax.load(tmp_path / "whole", devices=1).contract.trunk.lora is None


def test_an_adapter_is_exported_for_peft(adapted, tmp_path):
    from safetensors.numpy import load_file

    done = call("export", f"--checkpoint={adapted}", f"--output={tmp_path / 'peft'}", "--adapter")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 4.0, ["q_proj", "up_proj", "v_proj"])
    weights, params = load_file(tmp_path / "peft" / "adapter_model.safetensors"), stored(adapted)[0]
    assert len(weights) == 1 + 2 * 2 * 3  # head; A and B of three maps in two layers
    np.testing.assert_array_equal(
        weights["base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight"],
        np.asarray(params["trunk"]["blocks"]["attention"]["value"]["lora_a"])[1].T,
    )
    assert "PeftModel.from_pretrained" in (tmp_path / "peft" / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lora.rank": 4, "init": "random"}, "lora.rank adapts weights that were trained before"),
        ({"lora.rank": 4, "lora.targets": "q_proj"}, "found q_proj"),
        ({"lora.rank": -1}, "rank must be at least 0"),
        ({"lora.frozen_dtype": "int4"}, "frozen_dtype must be one of"),
        ({"lora.frozen_dtype": "bfloat16"}, "freezes nothing without adapters: set lora.rank too"),
    ],
)
def test_settings_that_do_not_fit(llama, data, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        parse(RunSettings, settings("helpful", VARIANT, llama[0], data, **changes))


def test_an_adapter_needs_its_base(adapted, reward_model, tmp_path):
    with pytest.raises(InputError, match="has no adapters"):
        export_adapter(reward_model, tmp_path / "none", head="helpful", dtype="float32")
    model = rmjax.load(adapted, devices=1)
    model.contract = dataclasses.replace(model.contract, data={**model.contract.data, "start": "random -> runs/sft"})
    with pytest.raises(InputError, match="not those of a Hugging Face checkpoint"):
        export_adapter(model, tmp_path / "none", head=None, dtype="float32")
    trunk = dataclasses.replace(model.contract.trunk, pooler="tanh")
    model.contract = dataclasses.replace(model.contract, trunk=trunk, data={"start": "google-bert/bert-base-uncased"})
    with pytest.raises(InputError, match="the layer before the head is trained too"):
        export_adapter(model, tmp_path / "none", head=None, dtype="float32")
    assert not (tmp_path / "none").exists()


def test_sft_of_random_weights_trains_all(data):
    config = importlib.import_module("configs.helpful").get_config("scratch")
    config.update_from_flattened_dict({**LORA, **data, "lora.frozen_dtype": "bfloat16"})
    settings = parse(RunSettings, config.to_dict())
    assert (settings.lora.rank, settings.sft_stage().lora.rank) == (2, 0)
