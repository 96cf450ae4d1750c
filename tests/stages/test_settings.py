"""Typed settings: every field is read, and a wrong one is named in one sentence."""

import dataclasses
import importlib
import math
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import helpful, sft
from configs.variants import ENCODERS, VARIANTS
from rmjax.cli.configurations import NO_RUNS
from rmjax.errors import RENAMED, InputError
from rmjax.stages.parsing import parse, to_dict
from rmjax.stages.settings import RunSettings, SftSettings

PAGES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "configs").glob("*.py"))
for other in (*NO_RUNS, "ppo"):  # tests/stages/test_rl.py has the settings of a policy
    PAGES.remove(other)


def config(changes=None):
    """The fields of configs/helpful.py, changed where `changes` has "a.b": value."""
    page = helpful.get_config("scratch")
    page.update_from_flattened_dict(changes or {})
    return page.to_dict()


def with_field(name, value):
    """The fields of configs/helpful.py and one more, which the page does not have."""
    fields = config()
    *parts, last = name.split(".")
    part = fields
    for each in parts:
        part = part[each]
    part[last] = value
    return fields


@pytest.mark.parametrize("variant", ["", *VARIANTS])
@pytest.mark.parametrize("page", PAGES)
def test_the_settings_of_every_page_are_its_fields(page, variant):
    """Both ways: no field is lost, and none is added."""
    if page == "sft" and variant in ENCODERS:
        pytest.skip("an encoder has no SFT")
    fields = importlib.import_module(f"configs.{page}").get_config(variant).to_dict()
    assert to_dict(parse(SftSettings if page == "sft" else RunSettings, fields)) == fields


@pytest.mark.parametrize("variant", ["", "gpt2"])
def test_the_sft_stage_of_a_run_has_the_fields_of_the_sft_page(variant):
    stage = to_dict(parse(RunSettings, helpful.get_config(variant).to_dict()).sft_stage())
    assert stage == sft.get_config(variant).to_dict()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", -1, "seed must be at least 0, found -1"),
        ("init_seed", -2, "init_seed must be at least -1, found -2"),
        ("heads", (), "heads must name at least one head, each once, found none"),
        ("heads", ("a,b",), "heads names 'a,b' as one head: write several as ('helpful','safety')"),
        ("heads", ("a", "a"), "heads must name at least one head, each once, found a, a"),
        ("data.pairs", "alone", "data.pairs must be one of together, apart, found 'alone'"),
        ("data.negligible", "x", "data.negligible must be one of judged, tied, found 'x'"),
        ("model.compute_dtype", "float16", "model.compute_dtype must be one of float32, bfloat16, found 'float16'"),
        ("seed", 2**32, "seed must be below 2**32, found 4294967296"),
        ("data.extra_keys", "x", "data.extra_keys must be one of check, ignore, found 'x'"),
        ("data.max_depth", 0, "data.max_depth must be at least 1, found 0"),
        ("model.width", 0, "model.width must be positive, found 0"),
        ("model.layers", 1001, "model.layers must be at most 1000, found 1001"),
        ("model.rope_theta", math.nan, "model.rope_theta must be a finite number, found nan"),
        ("model.rope_theta", -1.0, "model.rope_theta above 0, found 1e-05 and -1.0"),
        (
            "head.pooling",
            "no_such_pooling",
            "head.pooling must be one of empty, last, first, mean, found 'no_such_pooling'",
        ),
        (
            "loss.name",
            "no_such_loss",
            "loss.name must be one of bradley_terry, classification, squared_error, found 'no_such_loss'",
        ),
        ("loss.label_smoothing", 0.5, "loss.label_smoothing must be in [0, 0.5), found 0.5"),
        ("train.remat", "some", "train.remat must be one of none, dots, full, found 'some'"),
        ("train.batch_size", 0, "train.batch_size must be at least 1, found 0"),
        ("sft.epochs", 0, "sft.epochs must be at least 1, found 0"),
        ("train.microbatches", 0, "train.microbatches must be at least 1, found 0"),
        ("sft.keep", -2, "sft.keep must be at least 1, found -2"),
        ("train.max_steps", -1, "train.max_steps must be at least 0, found -1"),
        ("train.log_every", 0, "train.log_every must be at least 1, found 0"),
        ("train.evaluate_every", -1, "train.evaluate_every must be at least 0, found -1"),
        ("train.checkpoint_every", -1, "train.checkpoint_every must be at least 0, found -1"),
        ("train.select", "lowest", "train.select must be one of last, best, found 'lowest'"),
        ("sft.optimizer.learning_rate", 0.0, "sft.optimizer.learning_rate=0.0 is out of range"),
        ("evaluation.references", 1, "evaluation.references must be at least 2, found 1"),
        ("evaluation.normalize_on", "x", "evaluation.normalize_on must be one of responses, demonstrations, found 'x'"),
        ("parallel.layout", "magic", "magic"),
        ("parallel.devices", 999, "999"),
    ],
)
def test_a_setting_out_of_range_is_named(name, value, message):
    with pytest.raises(InputError) as caught:
        parse(RunSettings, config({name: value}))
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ["jsonl:mine.jsonl", "hh_rlhf/helpful"])
def test_a_language_model_of_the_package_refuses_data_that_are_not_of_the_corpus(source):
    fields = helpful.get_config().to_dict()
    fields["data"] |= {"train": source, "eval": "holdout"}
    with pytest.raises(InputError, match=f"knows only the words of the embedded corpus, and data.train={source} is"):
        parse(RunSettings, fields)
    fields["data"]["train"] = f"gold/helpful,{source}"  # in part it is
    assert parse(RunSettings, fields)
    fields["data"]["train"] = source
    fields["model"]["path"] = "somewhere"  # another model
    assert parse(RunSettings, fields)
    fields["model"]["path"] = ""
    assert parse(RunSettings, fields | {"init": "runs/sft"})  # a run has its own vocabulary


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sed", 1, "this configuration has no field sed: did you mean seed?"),
        ("data.eval_set", "x", "this configuration has no field data.eval_set: did you mean data.eval?"),
        ("model.widht", 3, "this configuration has no field model.widht: did you mean model.width?"),
        ("train.optimizer.momentum", 0.9, "this configuration has no field train.optimizer.momentum: "),
        ("seed", "1", "seed must be of type int, found '1'"),
        ("seed", True, "seed must be of type int, found True"),
        ("data.train", 3, "data.train must be of type str, found 3"),
        ("train.batch_size", 2.5, "train.batch_size must be of type int, found 2.5"),
        ("heads", "helpful", "heads must be a list of str, found 'helpful'"),
        ("loss", 3, "loss must be a group of fields, found 3"),
        *((old, 0.1, f"{old} is now {new}: use the new name") for old, new in RENAMED.items()),
    ],
)
def test_a_field_that_is_unknown_or_of_another_type_is_named(name, value, message):
    with pytest.raises(InputError) as caught:
        parse(RunSettings, with_field(name, value))
    assert str(caught.value).startswith(message)
    assert type(caught.value) is InputError


@pytest.mark.parametrize("name", ["seed", "data.train", "train.optimizer.b1", "model.width", "model.compute_dtype"])
def test_a_field_that_is_missing_is_named(name):
    fields = config()
    *parts, last = name.split(".")
    part = fields
    for each in parts:
        part = part[each]
    del part[last]
    with pytest.raises(InputError, match=f"the configuration lacks the field {name}"):
        parse(RunSettings, fields)


def test_a_whole_number_passes_for_a_float():
    settings = parse(RunSettings, config({"loss.center_coef": 1.0}) | {"seed": 3})
    assert parse(RunSettings, with_field("loss.center_coef", 1)) == dataclasses.replace(settings, seed=0)


def test_settings_come_from_a_config_dict_as_well():
    assert parse(RunSettings, ConfigDict(config()).to_dict()) == parse(RunSettings, config())


@pytest.mark.parametrize("stage", ["train", "sft"])
def test_a_row_must_hold_the_longest_prompt_and_response_with_its_eos(stage):
    limits = {"tokenizer.max_prompt": 30, "tokenizer.max_response": 20}
    parse(RunSettings, config({**limits, f"{stage}.row_length": 51}))
    with pytest.raises(InputError, match=rf"{stage}.row_length=50 is too short: .* is 51; 0 fits"):
        parse(RunSettings, config({**limits, f"{stage}.row_length": 50}))


@pytest.mark.parametrize("gate", [("helpful",), ("helpful", "helpful"), ("helpful", "harmless"), ("a", "b", "c")])
def test_a_gate_joins_two_heads_of_the_model(gate):
    heads = {"heads": ("helpful", "safety")}
    with pytest.raises(InputError, match=r"gate names .* of the model \(helpful, safety\), or nothing: found"):
        parse(RunSettings, config() | heads | {"gate": gate})
    for good in ((), ("safety", "helpful")):
        assert parse(RunSettings, config() | heads | {"gate": good}).gate == good


def test_the_best_checkpoint_can_only_be_chosen_if_every_one_was_evaluated():
    best = {"train.select": "best", "train.evaluate_every": 100, "train.checkpoint_every": 100}
    parse(RunSettings, config(best))
    with pytest.raises(InputError, match=r"train.select=best .* set evaluate_every and checkpoint_every to the same"):
        parse(RunSettings, config({**best, "train.checkpoint_every": 50}))
    with pytest.raises(InputError, match=r"train.select=best needs a validation loss"):
        parse(RunSettings, config({**best, "loss.name": "squared_error"}))
