"""Runs on pretrained trunks: train, sft and export with tiny checkpoints."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scripts import ROOT, call
from tiny_checkpoints import LIMITS, write_bert, write_comparisons, write_llama

import rmjax
from experiments import export, sft, train
from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.parallel.layout import make_layout
from rmjax.scoring.checkpoint import load_tree
from rmjax.scoring.contract import read_contract
from rmjax.scoring.gate import GatedModel
from rmjax.scoring.run_checkpoints import find_checkpoint
from rmjax.stages.initialization import check_origin, check_template, initialize
from rmjax.stages.parsing import parse
from rmjax.stages.settings import RunSettings

pytestmark = pytest.mark.usefixtures("quick_compilation")

ONE = make_layout(layout="pmap", devices=1)
SMALL = {
    **LIMITS,
    "data.holdout": 0.2,
    "parallel.devices": 1,
    "train.batch_size": 4,
    "train.microbatches": 1,
    "train.max_steps": 1,
}
SMALL_REWARD = {
    "evaluation.bootstrap": 10,
    "evaluation.references": 8,
    "sft.batch_size": 4,
    "sft.microbatches": 1,
    "sft.max_steps": 1,
}
# A rate so low that the one step moves no float32 weight: what is saved is what training began with.
STILL = {"train.optimizer.learning_rate": 1e-30}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """(folder, parameters) of a language model."""
    folder = tmp_path_factory.mktemp("llama")
    return folder, write_llama(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """(folder, parameters) of an encoder."""
    folder = tmp_path_factory.mktemp("bert")
    return folder, write_bert(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The fields that name a dozen comparisons to learn from, eight to validate on, and eight to report on."""
    path = write_comparisons(tmp_path_factory.mktemp("data") / "all.jsonl", 28)
    slices = {"train": "[:12]", "validation": "[12:20]", "eval": "[20:]"}
    return {**{f"data.{name}": f"jsonl:{path}{part}" for name, part in slices.items()}, "data.refuse_leaks": True}


def settings(page, variant, folder, data, **changes):
    """A variant made small; `changes` has "a.b": value."""
    config = importlib.import_module(f"configs.{page}").get_config(variant)
    data = {name: value for name, value in data.items() if page != "sft" or name == "data.train"}
    small = SMALL if page == "sft" else {**SMALL, **SMALL_REWARD}
    config.update_from_flattened_dict({**small, **data, "model.path": str(folder), **changes})
    return config.to_dict()


def run(script, config, workdir):
    """A script's run in this process; returns the run directory."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        script.main(config, workdir)
    return workdir


def stored(workdir):
    """(parameters, contract) of the last checkpoint of a run."""
    checkpoint = find_checkpoint(workdir)
    return load_tree(checkpoint / "params", layout=ONE), read_contract(checkpoint / "contract.json")


def assert_equal_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


# --- a chat model, as it is -------------------------------------------------------------------------------------------


def test_a_reward_model_begins_with_the_weights_of_the_folder_and_scores_as_it_was_evaluated(llama, data, tmp_path):
    folder, params = llama
    fields = {**SMALL, **SMALL_REWARD, **data, **STILL, "model.path": folder}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    done = call("train", f"--config={ROOT}/configs/helpful.py:tinyllama", f"--workdir={tmp_path}/run", *flags)
    assert done.returncode == 0, done.stderr
    assert "randomly initialized: reward heads" in done.stdout
    assert "lm_head.weight" in done.stdout  # not loaded, with a message
    assert not (tmp_path / "run" / "sft").exists()

    kept, contract = stored(tmp_path / "run")
    assert_equal_trees(kept["trunk"], params["trunk"])
    assert contract.data["start"] == "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    model = rmjax.load(tmp_path / "run", devices=1)
    test = load_comparisons(data["data.eval"], "test")
    again = evaluate_heads(test, model.score_comparisons(test).raw, ("helpful",), bootstrap=10, seed=0)
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert again["heads"] == evaluation["heads"]


# --- a base model: SFT first, two heads, export -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def joint(llama, data, tmp_path_factory):
    """The run directory of a base model with its own SFT stage and two heads."""
    workdir = tmp_path_factory.mktemp("joint") / "run"
    return run(train, settings("joint", "llama-2-7b", llama[0], data, **{"model.compute_dtype": "float32"}), workdir)


def test_a_base_model_has_its_sft_first(joint, llama):
    trained, of_sft = stored(joint / "sft")
    assert of_sft.kind == "language_model"
    assert of_sft.data["start"] == "meta-llama/Llama-2-7b-hf"
    assert jax.tree.structure(trained) == jax.tree.structure(llama[1])  # trunk and output layer
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), trained, llama[1])
    assert all(jax.tree.leaves(moved))
    params, contract = stored(joint)
    assert contract.data["start"] == f"meta-llama/Llama-2-7b-hf -> {joint / 'sft'}"
    assert params.keys() == {"trunk", "reward"}
    assert contract.heads == ("helpful", "safety")
    assert json.loads((joint / "evaluation.json").read_text())["heads"].keys() == {"helpful", "safety"}


def test_two_heads_are_joined_by_the_gate_that_was_reported(joint, data):
    stated = json.loads((joint / "evaluation.json").read_text())["gate"]
    gated = GatedModel(rmjax.load(joint, devices=1))
    assert (stated["helpful"], stated["safety"]) == ("helpful", "safety")
    assert stated["prompt_threshold"] == gated.gate.prompt_threshold
    assert "Routed by the label of the data, the heads have" in stated["verdict"]
    held_out = json.loads((joint / "data_audit.json").read_text())["sets"]["validation"]["comparisons"]
    assert sum(stated["fitted_comparisons"].values()) == held_out
    test = load_comparisons(data["data.eval"], "test")
    again = evaluate_heads(test, gated.score_comparisons(test).raw, gated.heads, bootstrap=0, seed=0)
    assert again["accuracy"] == stated["accuracy"]
    assert again["labels"]["safety"]["accuracy"] == stated["labels"]["safety"]["accuracy"]


def test_the_gate_is_evaluated_with_a_verdict(joint, data, tmp_path):
    output = tmp_path / "gate.json"
    done = call("evaluate", f"--checkpoint={joint}", "--gate", f"--data={data['data.eval']}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    stated = json.loads((joint / "evaluation.json").read_text())["gate"]
    found = json.loads(output.read_text())["gate"]
    assert found["verdict"] in done.stdout
    assert found["against_heads"]["other_accuracy"] == stated["against_heads"]["other_accuracy"]


def test_one_head_of_several_is_exported_and_scores_the_same(joint, tmp_path):
    several = call("export", f"--checkpoint={joint}", f"--output={tmp_path}/none", "--noverify")
    assert several.returncode == 1
    assert several.stderr.strip() == "error: this model has several heads, name one: helpful, safety"
    assert not (tmp_path / "none").exists()
    output = tmp_path / "safety"
    run_export(joint, output, head="safety")
    original, exported = rmjax.load(joint, verify=False, devices=1), rmjax.load(output, devices=1)
    assert exported.heads == ("safety",)
    answers = ["No.", "I will not."]
    np.testing.assert_allclose(
        exported.score("Why?", answers), original.score("Why?", answers, head="safety"), rtol=1e-5, atol=1e-6
    )
    card = (output / "README.md").read_text()
    assert "meta-llama/Llama-2-7b-hf" in card
    accuracy = json.loads((joint / "evaluation.json").read_text())["heads"]["safety"]["accuracy"]
    assert f"| accuracy | {100 * accuracy:.1f} % (95 % interval" in card


def test_the_language_model_inside_is_exported_too(joint, tmp_path):
    run_export(joint / "sft", tmp_path / "lm")
    record = json.loads((tmp_path / "lm" / "config.json").read_text())
    assert record["architectures"] == ["LlamaForCausalLM"]
    with pytest.raises(InputError, match="has no head 'helpful'"):
        run_export(joint / "sft", tmp_path / "other", head="helpful")


def run_export(checkpoint, output, head=None):
    """export.py in this process, with its flags."""
    paths = {"checkpoint": str(checkpoint), "output": str(output)}
    flags = SimpleNamespace(
        **paths, head=head, dtype="float32", verify=False, push_to_hub="", adapter=False, public=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "flags", SimpleNamespace(FLAGS=flags))
        export.main()


# --- a separate SFT run ---------------------------------------------------------------------------------------------


def test_an_sft_run_is_a_start_for_its_own_variant_only(llama, data, tmp_path, capsys):
    folder, _ = llama
    begun = run(sft, settings("sft", "tinyllama", folder, data), tmp_path / "sft")
    assert "--config=configs/helpful.py:VARIANT" in capsys.readouterr().out
    # The reward model needs neither hub nor folder any more.
    start = initialize(parse(RunSettings, settings("helpful", "tinyllama", "", data, init=str(begun))), lambda: [])
    params, contract = stored(begun)
    assert_equal_trees(start.weights(None, ONE), params)
    assert (start.trunk, start.tokenizer.ending) == (contract.trunk, contract.ending)
    assert start.origin == f"TinyLlama/TinyLlama-1.1B-Chat-v1.0 -> {begun}"

    for variant, words in (
        ("gpt2", "began with TinyLlama/.* begins with openai-community/gpt2"),
        ("scratch", "with random"),
    ):
        config = settings("helpful", "tinyllama", "", data, init=str(begun))
        config["model"] = importlib.import_module("configs.helpful").get_config(variant).to_dict()["model"]
        config["tokenizer"] |= {"path": "", "vocab_size": 300} if variant == "scratch" else {}
        with pytest.raises(InputError, match=f"{words}.*choose the same variant"):
            run(train, config, tmp_path / "other")
    config = settings("helpful", "tinyllama", "", data, init=str(begun), **{"tokenizer.template": "transcript"})
    with pytest.raises(InputError, match=r"tokenizer\.template=transcript, but the SFT run .* another chat template"):
        run(train, config, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_origin_is_the_first_of_a_chain():
    config = SimpleNamespace(model=SimpleNamespace(pretrained="gpt2"))
    check_origin(config, SimpleNamespace(data={"start": "gpt2 -> runs/a -> runs/b"}), Path("c"))
    with pytest.raises(InputError, match="began with pythia, this configuration begins with gpt2"):
        check_origin(config, SimpleNamespace(data={"start": "pythia -> gpt2"}), Path("c"))


def test_the_template_that_an_sft_run_was_trained_with_may_be_named(llama, tmp_path):
    limits = {"max_prompt": 32, "max_response": 16}
    tokenizer = open_tokenizer(str(llama[0]), template="transcript", **limits)
    tokenizer.save(tmp_path / "tokenizer")
    for name in ("", "transcript"):
        check_template(SimpleNamespace(tokenizer=SimpleNamespace(template=name)), tokenizer, tmp_path)


# --- an encoder -------------------------------------------------------------------------------------------------------


def test_an_encoder_becomes_a_reward_model(bert, data, tmp_path, capsys):
    folder, params = bert
    workdir = run(train, settings("helpful", "minilm", folder, data, **STILL), tmp_path / "run")
    assert "randomly initialized: reward heads" in capsys.readouterr().out
    kept, contract = stored(workdir)
    assert_equal_trees(kept["trunk"], params["trunk"])
    assert_equal_trees(kept["pooler"]["kernel"], params["pooler"]["kernel"])
    assert not contract.trunk.causal
    assert rmjax.load(workdir, devices=1).heads == ("helpful",)  # its canaries score as they did


def test_an_encoder_cannot_have_sft(bert, data, tmp_path):
    with pytest.raises(InputError, match=r"all-MiniLM-L6-v2 is an encoder.*--config\.init=pretrained"):
        run(train, settings("helpful", "minilm", bert[0], data, init="sft"), tmp_path / "run")
    with pytest.raises(InputError, match="is an encoder, which SFT cannot train"):
        run(sft, settings("sft", "tinyllama", bert[0], data, **{"tokenizer.template": "transcript"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what cannot be had -----------------------------------------------------------------------------------------------


def test_without_network_and_files_one_sentence_says_what_to_do(data, tmp_path):
    flags = [f"--config.{name}={value}" for name, value in data.items()]
    hub = f"--config.model.pretrained={tmp_path.name}/absent"
    done = call("train", f"--config={ROOT}/configs/helpful.py:tinyllama", f"--workdir={tmp_path}/run", hub, *flags)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: the weights of {tmp_path.name}/absent are not on this machine")
    assert f"`hf download {tmp_path.name}/absent`" in line
    assert "--config.model.path=FOLDER" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("script", "page", "changes", "words"),
    [
        (train, "helpful", {"model.path": "/nowhere"}, "there is no folder /nowhere: model.path names the local copy"),
        (train, "helpful", {"data.sft": "gold/helpful"}, "init=pretrained needs no demonstrations: leave data.sft"),
        (train, "helpful", {"tokenizer.max_prompt": 60}, "but .* is made for 64: lower one of them"),
        (train, "helpful", {"tokenizer.template": "chatml"}, "unknown tokenizer.template 'chatml'"),
        (train, "helpful", {"init": "/nowhere"}, "there is no checkpoint at /nowhere"),
        (sft, "sft", {"model.path": "/nowhere"}, "there is no folder /nowhere"),
        (sft, "sft", {"init": "sft"}, "init=sft is for a reward model"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(script, page, changes, words, llama, data, tmp_path):
    with pytest.raises(InputError, match=words):
        run(script, settings(page, "tinyllama", llama[0], data, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("page", ["helpful", "sft"])
def test_a_trunk_from_scratch_has_no_pretrained_weights(page, data, tmp_path):
    config = importlib.import_module(f"configs.{page}").get_config("scratch")
    config.update_from_flattened_dict(
        {"init": "pretrained", **{name: value for name, value in data.items() if page != "sft" or "train" in name}}
    )
    script = sft if page == "sft" else train
    with pytest.raises(InputError, match=r"init=pretrained, but config\.model .* choose a variant"):
        run(script, config.to_dict(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
