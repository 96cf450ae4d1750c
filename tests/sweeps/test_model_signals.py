"""Signals of over-optimisation that need reward models, against the models' own scores and features."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rmjax.data.comparisons import Message
from rmjax.evaluation.detectors import outliers
from rmjax.scoring.checkpoint import save_checkpoint
from rmjax.scoring.finalize import finalize
from rmjax.sweeps.model_signals import FILE, same_setting, write_model_signals

PROMPTS = ("How do I boil an egg?", "Why?", "What is the capital of France?")
# By evaluation, a response to each prompt.
RESPONSES = (
    ("Boil it.", "No idea.", "Paris."),
    ("Boil it.", "Because.", "Paris is it."),
    ("egg egg", "egg egg", "egg"),
)


@pytest.fixture(scope="module")
def judges(make_model, references, tmp_path_factory):
    """Reward models of one setting with two seeds, and their directories."""
    folder, found = tmp_path_factory.mktemp("study"), {}
    first = make_model(heads=("helpful",))
    for seed, factor in enumerate((1.0, -0.5)):
        params = jax.tree.map(lambda x, factor=factor: np.asarray(x) * factor, first.layout.unreplicate(first.params))
        model = make_model(heads=("helpful",), params=params)
        model.contract = finalize(model, {"helpful": references["helpful"]}, "made-up texts", step=7)
        run = folder / f"judge0-seed{seed}"
        optimizer = {"step": jnp.asarray(7, jnp.int32)}
        save_checkpoint(run / "checkpoints", model.contract, model.tokenizer, params, optimizer, keep=1)
        (run / "evaluation.json").write_text("{}")
        found[run] = model
    return found


def policy(folder, judge):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"rollout": {}, "reward": str(judge)}))
    records = [
        {"step": e, "prompt": [{"role": "user", "content": prompt}], "response": response, "scores": {}}
        for e, answers in enumerate(RESPONSES)
        for prompt, response in zip(PROMPTS, answers, strict=True)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_the_signals_are_those_of_scores_and_features(judges, tmp_path):
    judge, model = next(iter(judges.items()))
    run = policy(tmp_path / "run", judge)
    write_model_signals([run])
    found = json.loads((run / FILE).read_text())["signals"]

    asked = [[(Message("user", prompt),)] for prompt in PROMPTS]
    features = [
        np.stack([model.features(prompt, [[text]])[0][0] for prompt, text in zip(asked, texts, strict=True)])
        for texts in RESPONSES
    ]
    assert found["hidden states"] == [outliers(features[0], each) for each in features]
    standard = []
    for each in judges.values():
        scores = np.array([[each.score(p, r) for p, r in zip(PROMPTS, rs, strict=True)] for rs in RESPONSES])
        standard.append((scores - scores[0].mean()) / scores[0].std())
    np.testing.assert_allclose(found["disagreement"], np.std(standard, axis=0).mean(1), rtol=1e-4)
    assert found["disagreement"][2] != pytest.approx(found["disagreement"][0], rel=0.01)


def test_signals_are_computed_once_for_the_same_judges(judges, tmp_path):
    run = policy(tmp_path / "run", next(iter(judges)))
    stored = {"judges": [path.name for path in judges], "signals": {"hidden states": [1, 2, 3]}}
    (run / FILE).write_text(json.dumps(stored))
    write_model_signals([run])
    assert json.loads((run / FILE).read_text()) == stored
    (run / FILE).write_text(json.dumps(stored | {"judges": ["judge0-seed0"]}))
    write_model_signals([run])
    assert len(json.loads((run / FILE).read_text())["signals"]) == 2


def test_the_judges_of_a_setting_are_those_of_its_seeds_that_are_finished(judges, tmp_path):
    first, second = judges
    assert same_setting(first) == [first, second]
    (first.parent / "judge01-seed0").mkdir()
    (first.parent / "judge0-seed2").mkdir()
    assert same_setting(second) == [first, second]


def test_without_the_judge_there_are_no_signals(tmp_path):
    run = policy(tmp_path / "run", tmp_path / "gone-seed0")
    write_model_signals([run])
    assert json.loads((run / FILE).read_text())["signals"] == {}
