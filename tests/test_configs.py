"""Every configuration builds and trains, and refuses a variant that does not exist."""

import dataclasses
import importlib
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict
from tiny_checkpoints import write_llama

from configs.variants import ENCODERS, VARIANTS
from rmjax.cli.configurations import NO_RUNS
from rmjax.data.reading import Reading
from rmjax.data.sources import parse_sources
from rmjax.errors import InputError
from rmjax.models.checkpoint_files import EMBEDDED
from rmjax.rlhf.kl import KLConfig
from rmjax.rlhf.policy import PolicyLossConfig
from rmjax.stages import rl_settings, settings, train_language_model, train_policy, train_reward_model
from rmjax.training.loggers import LOGGERS

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in NO_RUNS)
SHRINK = {
    "data": {"holdout": 0.2},
    "tokenizer": {"vocab_size": 300, "max_prompt": 40, "max_response": 20},
    "model": {"width": 8, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 4, "mlp_width": 8},
    "evaluation": {"bootstrap": 10, "references": 8},
}
SHRINK_STAGE = {"batch_size": 8, "max_steps": 2, "keep": 1}
SHRINK_POLICY = {
    "data": {"holdout": 0.2, "validation_prompts": 4, "eval_prompts": 4},
    "rollout": {"prompts": 2, "max_response": 6},
    "rewards": {"references": 1, "length_penalty": 0.1, "entropy": 0.1},
    "algorithm": {"samples": 2},
    "train": {"max_steps": 2},
    "stop": {"cut": 0.0},
    "evaluation": {"bootstrap": 10},
}
TRAIN = {"sft": train_language_model, "ppo": train_policy}
# The tokens that the trunks of the hub have positions for, where these are fewer than 2,048.
POSITIONS = {"minilm": 512, "distilbert": 512, "gpt2": 1024}


def build(name: str, variant: str = "") -> dict:
    """The configuration of a page."""
    return importlib.import_module(f"configs.{name}").get_config(variant).to_dict()


def shrunk(name: str) -> dict:
    """Returns a configuration, made small."""
    config = build(name, "scratch")
    if name == "ppo":
        for part, fields in SHRINK_POLICY.items():
            config[part] |= fields
        config["models"] = {
            field: value for field, value in shrunk("helpful").items() if field not in ("parallel", "loggers")
        }
        config["data"] |= {field: config["models"]["data"][field] for field in ("train", "eval")}
        return config
    for part, fields in SHRINK.items():
        if part in config:
            config[part] |= fields
    for stage in ("train", "sft"):
        if stage in config:
            config[stage] |= SHRINK_STAGE
    for field in ("train", "eval"):
        if field in config["data"]:
            names = [re.sub(r"\[.*\]", "", part) for part in config["data"][field].split(",")]
            config["data"][field] = ",".join(f"{name}[:40]" for name in names)
    return config


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_builds(name):
    assert build(name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_every_page_builds_with_every_variant(name, variant):
    if name in TRAIN and variant in ENCODERS:
        way = "--config.reward=RUN" if name == "ppo" else f"--config=configs/helpful.py:{variant}"
        with pytest.raises(ValueError, match=f"{variant}' is an encoder.*{way}"):
            build(name, variant)
        return
    config = build(name, variant)
    config = config.get("models", config)
    limits = config["tokenizer"]
    assert limits["max_prompt"] + limits["max_response"] + 1 <= POSITIONS.get(variant, 2048)
    for field in ("train", "eval"):
        if field in config["data"]:
            assert {source.kind for source in parse_sources(config["data"][field])} == {"hh_rlhf"}
    assert config["init"] in (("pretrained",) if name == "sft" or variant in ENCODERS else ("pretrained", "sft"))
    assert config["train"]["epochs"] == 1
    assert config["train"]["optimizer"]["final_ratio"] == 0.1


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_says_how_to_run_it_and_what_to_expect(variant):
    page = " ".join(VARIANTS[variant].__doc__.split())
    assert f" --config=configs/helpful.py:{variant} " in page
    for heading in ("Hardware:", "Time:", "Accuracy:"):
        assert heading in page


def test_the_pages_differ_in_what_they_learn_from():
    sources = {name: build(name, "gpt2")["data"]["train"] for name in NAMES}
    assert sources == {
        "helpful": "hh_rlhf/helpful",
        "joint": "hh_rlhf/helpful,hh_rlhf/harmless-base",
        "ppo": "hh_rlhf/helpful",
        "safety": "hh_rlhf/harmless-base",
        "sft": "hh_rlhf/helpful",
    }
    assert {name: build(name, "gpt2")["heads"] for name in NAMES if name not in TRAIN} == {
        "helpful": ("helpful",),
        "joint": ("helpful", "safety"),
        "safety": ("safety",),
    }


def test_the_models_of_a_policy_are_those_of_their_own_page():
    """Except for a shorter SFT."""
    models = build("helpful")
    del models["parallel"], models["loggers"]
    models["sft"]["max_steps"] = 200
    assert build("ppo")["models"] == models


def test_without_a_variant_nothing_is_downloaded():
    for name in NAMES:
        config = build(name)
        assert config.get("models", config)["model"]["pretrained"].startswith(EMBEDDED)
        assert "pretrained" not in (scratch := build(name, "scratch")).get("models", scratch)["model"]
        assert {source.kind for source in parse_sources(config["data"]["train"])} == {"gold"}


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_an_error_that_names_the_known_ones(name):
    with pytest.raises(ValueError, match="no variant 'gigantic'") as caught:
        build(name, "gigantic")
    for known in VARIANTS:
        assert (known in str(caught.value)) == (name != "ppo" or known not in ENCODERS)


@pytest.fixture
def unread(monkeypatch):
    """Returns the fields of settings that a run has not read, as (class, field).

    The reads of parsing, validation and of writing config.json do not count.
    """
    known = [*vars(settings).values(), *vars(rl_settings).values(), KLConfig, PolicyLossConfig]
    classes = list({each for each in known if isinstance(each, type) and dataclasses.is_dataclass(each)})
    classes = [each for each in classes if each.__module__ != "rmjax.models.config"]
    read, made = set(), set()

    def watch(kind):
        def getattribute(self, name):
            made.add(kind)
            caller = sys._getframe(1).f_code
            ignored = caller.co_name in ("__post_init__", "to_dict", "<dictcomp>", "_check_common", "check_row_length")
            if not ignored and "dataclasses" not in caller.co_filename:
                read.add((kind, name))
            return object.__getattribute__(self, name)

        monkeypatch.setattr(kind, "__getattribute__", getattribute)

    for kind in classes:
        watch(kind)
    limits = {field.name for field in dataclasses.fields(Reading)}  # `Reading.limits` reads all of them
    fields = {(kind, field.name) for kind in classes for field in dataclasses.fields(kind) if field.name not in limits}
    return lambda: {(kind.__name__, name) for kind, name in fields - read if kind in made}


# Read only with ties=rao_kupper; by a trunk of a checkpoint; with adapters, which a random start refuses; by other
# rewards, algorithms and penalties.
CONDITIONAL = {
    ("LossConfig", "tie_threshold"),
    ("ModelSettings", "path"),
    *(("LoraSettings", name) for name in ("rank", "alpha", "targets", "frozen_dtype")),
    ("SftSettings", "lora"),
    ("RewardSettings", "references"),
    ("RewardSettings", "every"),
    ("RewardSettings", "implicit_policy"),
    ("AlgorithmConfig", "std_floor"),
    ("AlgorithmConfig", "credit"),
    ("KLConfig", "horizon"),
    ("KLConfig", "estimator"),
    ("PolicyLossConfig", "max_response"),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_page_trains_and_every_field_is_read(name, unread, tmp_path, capsys):
    train = TRAIN.get(name, train_reward_model)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        train(shrunk(name), tmp_path / "run")
    assert (tmp_path / "run" / "evaluation.json").is_file()
    # The SFT stage inside a reward-model run gets tokenizer and data from that run; its settings only record them.
    recorded = () if name == "sft" else ("SftSettings", "SftDataSettings")
    assert {field for field in unread() if field[0] not in recorded} <= CONDITIONAL


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_gives_all_of_its_rows_to_the_loggers(name, tmp_path, monkeypatch, capsys):
    received = {}

    class Recorder:
        def __init__(self, run):
            self.rows = received.setdefault(run.path, [])

        def begin(self, rows, removed):
            self.rows += rows

        def log(self, row):
            self.rows.append(row)

        def close(self):
            self.rows.append("closed")

    monkeypatch.setitem(LOGGERS, "recorder", (Recorder, "json"))
    train = TRAIN.get(name, train_reward_model)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        train({**shrunk(name), "loggers": "recorder"}, tmp_path / "run")
    logs = [path for path in tmp_path.rglob("metrics.jsonl") if "checkpoints" not in path.parts]
    logged = {path.parent: path.read_text() for path in logs}
    assert len(logged) == {"sft": 1, "ppo": 3}.get(name, 2)
    assert {path: rows[-1] for path, rows in received.items()} == dict.fromkeys(logged, "closed")
    for path, text in logged.items():
        assert "".join(json.dumps(row) + "\n" for row in received[path][:-1]) == text


def test_a_configuration_may_be_a_config_dict(tmp_path, capsys):
    small = ConfigDict(shrunk("sft"))
    with jax.numpy_dtype_promotion("standard"):
        result = train_language_model(small, tmp_path / "run")
    assert result == train_language_model(small.to_dict(), tmp_path / "run")  # finished, and the same run


def test_more_steps_than_the_data_have_are_said(tmp_path, capsys):
    config = shrunk("sft")
    config["data"] |= {"train": "gold/helpful[:12]"}
    config["train"] |= {"max_steps": 100, "batch_size": 4, "epochs": 2}
    with jax.numpy_dtype_promotion("standard"):
        train_language_model(config, tmp_path / "run")
    steps = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    said = f"SFT: max_steps=100 is more than the data have: {steps} steps in 2 epochs; raise epochs for more\n"
    assert said in capsys.readouterr().out


def test_weights_that_are_not_finite_are_not_saved(tmp_path, monkeypatch):
    """The loss of a step is that of the weights before its update, so it can be finite."""

    def broken(state, *_, callbacks, **__):
        bad = jax.tree.map(lambda x: x * jnp.nan, state.params)
        callbacks[1].call(state._replace(params=bad), 1)

    monkeypatch.setattr("rmjax.stages.stage.fit", broken)
    expected = r"SFT: a weight is not finite after step 1; no checkpoint has been saved\. Lower optimizer"
    with pytest.raises(InputError, match=expected), jax.numpy_dtype_promotion("standard"):
        train_language_model(shrunk("sft"), tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_a_variant_trains(tmp_path, capsys):
    write_llama(tmp_path / "llama")
    config = build("helpful", "llama-2-7b")
    config["model"]["path"] = str(tmp_path / "llama")
    config["data"] |= {"train": "gold/helpful[:40]", "eval": "gold/helpful[:40]", "holdout": 0.2}
    config["tokenizer"] |= {"max_prompt": 40, "max_response": 20}
    config["evaluation"] |= SHRINK["evaluation"]
    config["parallel"]["devices"] = 1
    for stage in ("train", "sft"):
        config[stage] |= {**SHRINK_STAGE, "max_steps": 1, "microbatches": 2}
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        train_reward_model(config, tmp_path / "run")
    assert (tmp_path / "run" / "evaluation.json").is_file()
