"""Checkpoints, configurations, indexes, tokenizers and contracts that are damaged or hostile: one sentence each."""

import dataclasses
import hashlib
import json
import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from golden.compare import edit_config, edit_tensors

from rmjax.errors import InputError
from rmjax.scoring.checkpoint import load, save_checkpoint
from rmjax.scoring.contract import Gate
from rmjax.scoring.hub import export_reward_model
from rmjax.scoring.manifest import MANIFEST, verify_files
from rmjax.scoring.run_checkpoints import NEEDED, find_checkpoint


@pytest.fixture(scope="module")
def exported(reward_model, tmp_path_factory):
    """The head `safety` as a folder in Hugging Face's format, not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "safety"
    export_reward_model(reward_model, folder, head="safety", dtype="float32")
    return folder


@pytest.fixture(scope="module")
def saved(reward_model, tmp_path_factory):
    """A checkpoint, not to be changed."""
    params = reward_model.layout.unreplicate(reward_model.params)
    root = tmp_path_factory.mktemp("run") / "checkpoints"
    optimizer = {"step": jnp.asarray(7, jnp.int32)}
    return save_checkpoint(root, reward_model.contract, reward_model.tokenizer, params, optimizer, keep=1)


def refusal(path):
    with pytest.raises(InputError) as refused:
        load(path, devices=1)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message or "chat template" in message or "model." in message or "max_prompt" in message
    return message


# --- folders in Hugging Face's format ---------------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000


def config(**fields):
    return lambda folder: edit_config(folder, **fields)


def text(name, content):
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def weights(value):
    def change(tensors):
        name = max(tensors, key=lambda name: tensors[name].size)
        tensors[name] = tensors[name].copy()
        tensors[name].flat[3] = value
        return tensors

    return lambda folder: edit_tensors(folder, change)


def index(file):
    return text("model.safetensors.index.json", json.dumps({"weight_map": {"a": file}}))


def replaced(name, make):
    def change(folder):
        (folder / name).unlink()
        make(folder / name)

    return change


FOLDERS = {
    "NaN weights": (weights(np.nan), "holds NaN or infinite numbers"),
    "infinite weights": (weights(-np.inf), "holds NaN or infinite numbers"),
    "weights are a FIFO": (replaced("model.safetensors", os.mkfifo), "is a FIFO, a device or a socket"),
    "weights are a device": (
        replaced("model.safetensors", lambda path: path.symlink_to("/dev/zero")),
        "is a FIFO, a device or a socket",
    ),
    "weights are a folder": (replaced("model.safetensors", os.mkdir), "is damaged or cut short"),
    "config is a FIFO": (replaced("config.json", os.mkfifo), "has no undamaged checkpoint"),
    "tokenizer is a FIFO": (replaced("tokenizer.json", os.mkfifo), "is a FIFO, a device or a socket"),
    "index to the parent": (index("../safety/model.safetensors"), "outside of its folder"),
    "index to a path": (index("/etc/passwd"), "outside of its folder"),
    "index to the folder": (index(".."), "outside of its folder"),
    "index deep": (text("model.safetensors.index.json", DEEP), "does not list tensors and their files"),
    "index a list": (text("model.safetensors.index.json", "[]"), "does not list tensors and their files"),
    "config deep": (text("config.json", DEEP), "states no model_type"),
    "no heads": (config(num_attention_heads=0), "config.json"),
    "a billion layers": (config(num_hidden_layers=10**9), "num_hidden_layers = 1000000000: at most 1000"),
    "a million layers": (config(num_hidden_layers=10**6), "num_hidden_layers = 1000000: at most 1000"),
    "a vocabulary of 10^10": (config(vocab_size=10**10), "vocab_size = 10000000000: at most"),
    "10^8 labels": (config(num_labels=10**8), "num_labels = 100000000: at most 1000"),
    "negative base": (config(rope_parameters={"rope_type": "default", "rope_theta": -1.0}), "rope_theta above 0"),
    "factor 0": (
        config(rope_parameters={"rope_type": "linear", "rope_theta": 1.0, "factor": 0.0}),
        "config.json",
    ),
    "text as base": (config(rope_parameters={"rope_type": "default", "rope_theta": "x"}), "config.json"),
    "NaN epsilon": (config(rms_norm_eps=float("nan")), "model.norm_eps must be a finite number"),
    "negative limits": (config(rmjax={"max_prompt": -5, "max_response": -5}), "max_prompt must be at least 2"),
    "limits as text": (config(rmjax={"max_prompt": "x"}), 'config.json: "rmjax"'),
    "settings as text": (config(rmjax="x"), 'config.json: "rmjax"'),
    "link as text": (config(rmjax={"link": "x"}), 'config.json: "rmjax"'),
    "tokenizer a list": (text("tokenizer.json", "[]"), "no tokenizer at"),
    "tokenizer deep": (text("tokenizer.json", DEEP), "no tokenizer at"),
    "tokenizer config a list": (text("tokenizer_config.json", "[]"), "no tokenizer at"),
    "template a number": (text("tokenizer_config.json", '{"chat_template": 3}'), "a chat template that is no text"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_hostile_folder_is_refused(exported, tmp_path, case):
    change, message = FOLDERS[case]
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    if case == "template a number":
        (folder / "chat_template.jinja").unlink()
    change(folder)
    assert message in refusal(folder)


# --- checkpoints of rmjax ---------------------------------------------------------------------------------------------


def rewrite(checkpoint, change):
    """Changes contract.json, and the manifest with it: the digests agree."""
    path = checkpoint / "contract.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    seal(checkpoint, "contract.json")


def seal(checkpoint, name):
    content = (checkpoint / name).read_bytes()
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    manifest[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))


def contract(**fields):
    return lambda record: record.update(fields)


def inside(part, **fields):
    return lambda record: record[part].update(fields)


GATE = dataclasses.asdict(Gate("helpful", "safety", 0.7, 0.15, "No.", 0.1, 1.2, 0.8, "made up"))
CONTRACTS = {
    "std 0": (lambda record: record["normalization"]["safety"].update(std=0.0), "std of a normalization must be above"),
    "std NaN": (lambda record: record["normalization"]["safety"].update(std=np.nan), "must be a finite number"),
    "mean as text": (lambda record: record["normalization"]["safety"].update(mean="x"), "must be a finite number"),
    "normalization a list": (contract(normalization=[]), "not a complete scoring contract"),
    "no canaries": (contract(canaries=[]), "has no canaries to verify"),
    "canary of another head": (lambda record: record["canaries"][0].update(head="x"), "heads ["),
    "canary score as text": (lambda record: record["canaries"][0].update(score="x"), "must be a finite number"),
    "unknown kind": (contract(kind="x"), "kind 'x'"),
    "unknown dtype": (contract(compute_dtype="float8"), "compute_dtype 'float8'"),
    "limits -5": (contract(max_prompt=-5, max_response=-5), "max_prompt must be at least 2"),
    "limit as text": (contract(max_prompt="x"), "a whole number that is none"),
    "a billion layers": (inside("trunk", layers=10**9), "model.layers must be at most 1000"),
    "width as text": (inside("trunk", width="x"), "model.width must be a whole number"),
    "another width": (inside("trunk", mlp_width=21), "other parameters than the model of its contract"),
    "no names": (inside("head", names=[]), "not a complete scoring contract"),
    "link negative": (inside("link", threshold=-1.0), "threshold of a link"),
    "gate with std 0": (contract(gate={**GATE, "std": 0.0}), "a gate whose std is not above 0"),
    "gate with NaN": (contract(gate={**GATE, "prompt_threshold": np.nan}), "must be a finite number"),
    "gate of another head": (contract(gate={**GATE, "safety": "x"}), "heads ["),
    "template a number": (contract(chat_template=3), "a text that is none"),
    "trunk a list": (contract(trunk=[]), "not a complete scoring contract"),
}


@pytest.mark.parametrize("case", CONTRACTS)
def test_a_contract_with_a_manifest_that_agrees_is_refused(saved, tmp_path, case):
    change, message = CONTRACTS[case]
    checkpoint = tmp_path / "000007"
    shutil.copytree(saved, checkpoint)
    rewrite(checkpoint, change)
    assert message in refusal(checkpoint)


def test_parameters_that_orbax_cannot_read_are_refused(saved, tmp_path):
    checkpoint = tmp_path / "000007"
    shutil.copytree(saved, checkpoint)
    (checkpoint / "params" / "_METADATA").write_text("{}")
    seal(checkpoint, "params/_METADATA")
    assert "cannot be read" in refusal(checkpoint)


def test_parameters_that_are_not_finite_are_refused(reward_model, tmp_path):
    params = reward_model.layout.unreplicate(reward_model.params)
    params["trunk"]["embedding"]["embedding"] = params["trunk"]["embedding"]["embedding"].at[1, 2].set(jnp.nan)
    optimizer = {"step": jnp.asarray(7, jnp.int32)}
    checkpoint = save_checkpoint(tmp_path, reward_model.contract, reward_model.tokenizer, params, optimizer, keep=1)
    assert "holds NaN or infinite numbers" in refusal(checkpoint)


MANIFESTS = {
    "empty object": ("{}", "does not list contract.json"),
    "list": ("[]", "no readable"),
    "number": ("1", "no readable"),
    "deep": (DEEP, "no readable"),
    "entry without size": ('{"contract.json": {"sha256": ""}}', "no readable"),
    "entry a number": ('{"contract.json": 1}', "no readable"),
    "long name": (json.dumps({"x" * 5000: {"bytes": 1, "sha256": ""}}), "cannot be read"),
    "parent": (json.dumps({"../000007/contract.json": {"bytes": 1, "sha256": ""}}), "outside of the folder"),
    "path": (json.dumps({"/etc/passwd": {"bytes": 1, "sha256": ""}}), "outside of the folder"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_damaged_manifest_is_passed_over(saved, tmp_path, capsys, case):
    """The older checkpoint, which is sound, is found."""
    content, message = MANIFESTS[case]
    root = tmp_path / "checkpoints"
    for name in ("000007", "000008"):
        shutil.copytree(saved, root / name)
    (root / "²").mkdir()  # a digit, but no number
    if "bytes" in content:
        content = json.dumps(json.loads((saved / MANIFEST).read_text()) | json.loads(content))
    (root / "000008" / MANIFEST).write_text(content)
    assert message in verify_files(root / "000008", NEEDED)
    assert find_checkpoint(tmp_path) == root / "000007"
    assert "skipping the damaged checkpoint" in capsys.readouterr().err
