"""Whole tiny runs: the data set that each part of a run uses, and pooling."""

import json

import jax
import pytest

import rmjax
from configs import joint
from rmjax.data.sources import load_comparisons
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.scoring import gate
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS, Link
from rmjax.stages import reward as reward_stage
from rmjax.stages.parsing import parse
from rmjax.stages.reward_data import load_reward_data
from rmjax.stages.settings import RunSettings
from rmjax.training.objectives import LossConfig, link_of

pytestmark = pytest.mark.usefixtures("quick_compilation")

# No two consecutive letters of a word occur in another.
WORDS = {"train": "lemon", "validation": "fjord", "test": "quick"}
COUNTS = {"train": 24, "validation": 10, "test": 16}
HEADS = ("helpful", "safety")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Name of a set -> the source that has it. Every text of a set is of its word, and numbers."""
    folder, found = tmp_path_factory.mktemp("data"), {}
    for name, word in WORDS.items():
        records = [
            {"prompt": f"{word} {i}", "chosen": word * (1 + i % 4), "rejected": f"{word} {word}", "head": HEADS[i % 2]}
            for i in range(COUNTS[name])
        ]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        found[name] = f"jsonl:{path}"
    return found


def settings(sources, **changes):
    """The settings of configs/joint.py, small, on the three sets."""
    config = joint.get_config("scratch")
    small = {"width": 8, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 4, "mlp_width": 8}
    changes = {
        "data.train": sources["train"],
        "data.validation": sources["validation"],
        "data.eval": sources["test"],
        "data.holdout": 0.4,
        "tokenizer.vocab_size": 300,
        "evaluation.bootstrap": 10,
        "evaluation.references": 6,
        "parallel.devices": 1,
        "train.batch_size": 8,
        "train.max_steps": 2,
        **{f"model.{name}": value for name, value in small.items()},
        **changes,
    }
    config.update_from_flattened_dict(changes)
    return config.to_dict()


def words(texts):
    """The words that occur in texts."""
    return {word for word in WORDS.values() if any(word in text for text in texts)}


def texts_of(comparisons):
    return [text for c in comparisons for text in (*(turn.content for turn in c.prompt), *c.responses)]


@pytest.mark.parametrize("named", [True, False], ids=["validation named", "validation held out"])
def test_every_part_comes_from_its_own_set(sources, named):
    config = settings(sources, **({} if named else {"data.validation": ""}))
    data = load_reward_data(parse(RunSettings, config))
    tokenizer = data.start.tokenizer.hf

    def read(examples):
        return [tokenizer.decode(ids) for example in examples for ids in (example.prompt, *example.responses)]

    assert words(read(data.examples)) == {WORDS["train"]}
    assert words(read([*data.sft.learned, *data.sft.held_out])) == {WORDS["train"]}
    assert words(texts_of(data.test)) == {WORDS["test"]}
    assert words(texts_of(data.validation)) == {WORDS["validation" if named else "train"]}
    assert len(data.examples) + (0 if named else len(data.validation)) == COUNTS["train"]

    # The normalized scale and the canaries.
    held_out = {(c.prompt, response) for c in data.validation for response in c.responses}
    for head in HEADS:
        assert len(data.references[head]) == 6
        assert set(data.references[head]) <= held_out

    # The BPE merges letters of what it has seen alone.
    tokens = [token for token in tokenizer.get_vocab() if not token.startswith("<")]
    pairs = {name: [word[i : i + 2] for i in range(len(word) - 1)] for name, word in WORDS.items()}
    assert [name for name, found in pairs.items() if any(pair in token for pair in found for token in tokens)] == [
        "train"
    ]


def test_a_held_out_share_is_reported_on_and_nothing_learns_from_it(sources):
    config = settings(sources, **{"data.eval": "holdout:30%", "data.validation": "", "data.holdout": 0.4})
    data = load_reward_data(parse(RunSettings, config))
    decode = data.start.tokenizer.hf.decode
    test, validation = ({c.prompt[0].content for c in items} for items in (data.test, data.validation))
    learned = {decode(example.prompt) for example in data.examples}
    demonstrated = {decode(e.prompt) for e in (*data.sft.learned, *data.sft.held_out)}
    everything = {c.prompt[0].content for c in load_comparisons(sources["train"], "train")}

    def read(prompts):
        return {text for text in everything if any(f"{text}<" in prompt or f"{text}\n" in prompt for prompt in prompts)}

    assert 2 <= len(test) <= 14
    assert read(learned) == everything - test - validation
    assert read(demonstrated) == everything - test
    assert data.audit.leaks == ()


def test_the_audit_alone_counts_the_data_and_writes_nothing(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    audit = reward_stage.audit_reward_data(settings(sources))
    assert {name: counts["comparisons"] for name, counts in audit.to_json()["sets"].items()} == COUNTS
    assert audit.to_text() in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_nothing_is_fitted_on_what_is_reported(sources, tmp_path, monkeypatch):
    """Temperature, gate, normalization and the metrics during training are those of the validation set."""
    seen = []

    def fit_gate(model, normalization, comparisons, **about):
        seen.append(comparisons)
        return gate.fit_gate(model, normalization, comparisons, **about)

    monkeypatch.setattr(reward_stage, "fit_gate", fit_gate)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        reward_stage.train_reward_model(settings(sources, init="random"), tmp_path / "run")
    validation = load_comparisons(sources["validation"], "validation")
    assert seen
    assert all(comparisons == validation for comparisons in seen)
    result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    audit = json.loads((tmp_path / "run" / "data_audit.json").read_text())["sets"]
    fitted = [result["calibration"][head]["tempered"]["fitted_pairs"] for head in HEADS]
    assert sum(fitted) == audit["validation"]["pairs"] == COUNTS["validation"]
    reported = sum(result["heads"][head]["pairs"] for head in HEADS)
    assert reported == audit["test"]["pairs"] == COUNTS["test"]

    model = rmjax.load(tmp_path / "run", devices=1)
    held_out = {(c.prompt, response) for c in validation for response in c.responses}
    assert {(canary.prompt, canary.response) for canary in model.contract.canaries} <= held_out
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = evaluate_heads(validation, model.score_comparisons(validation).raw, HEADS, bootstrap=0, seed=0)[
        "heads"
    ].values()
    loss = sum(head["loss"] * head["pairs"] for head in measured) / COUNTS["validation"]
    assert [row["validation_loss"] for row in rows if "validation_loss" in row][-1] == pytest.approx(loss, rel=1e-4)


def test_a_pooling_is_trained_saved_and_scored_with(sources, tmp_path):
    config = settings(sources, init="random", **{"head.pooling": "mean", "train.max_steps": 1})
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        result = reward_stage.train_reward_model(config, tmp_path / "run")
    model = rmjax.load(tmp_path / "run", devices=1)  # its canaries have the scores of the trained parameters
    assert model.contract.head.pooling == "mean"
    test = load_comparisons(sources["test"], "test")
    again = evaluate_heads(test, model.score_comparisons(test).raw, HEADS, bootstrap=10, seed=0)
    assert again["heads"] == result["heads"]


@pytest.mark.parametrize(
    ("settings", "link"),
    [
        ({}, BRADLEY_TERRY),
        ({"margin": "large"}, BRADLEY_TERRY),
        ({"ties": "half"}, BRADLEY_TERRY),
        ({"ties": "rao_kupper", "tie_threshold": 0.25}, Link("rao_kupper", 0.25)),
        ({"name": "squared_error"}, NO_ODDS),
        ({"name": "classification"}, NO_ODDS),
    ],
)
def test_the_link_of_the_scores_is_that_of_the_loss(settings, link):
    assert link_of(LossConfig(**settings)) == link
