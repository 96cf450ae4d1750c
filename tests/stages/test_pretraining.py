"""Pretraining of the embedded language models: their lessons, and a tiny one from the first stage to its folder."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from rmjax.cli.configurations import config
from rmjax.data.gold.corpus import in_share
from rmjax.data.gold.edits import minimal_edits
from rmjax.data.gold.lessons import JUDGED, STAGES, judgements, lessons
from rmjax.data.gold.reward import classify
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.errors import InputError
from rmjax.models.checkpoint_files import START, locate
from rmjax.scoring.checkpoint import find_checkpoint, load_params
from rmjax.scoring.contract import read_contract
from rmjax.scoring.language_model import load_language_model
from rmjax.stages import pretraining

SIZES = sorted(folder.name for folder in START.iterdir() if folder.is_dir())


@pytest.fixture
def few_texts(monkeypatch):
    """Drawing all of them takes half a minute a stage."""
    for name, stage in STAGES.items():
        monkeypatch.setitem(STAGES, name, stage._replace(texts=60))


@pytest.mark.usefixtures("few_texts")
@pytest.mark.parametrize("stage", STAGES)
def test_lessons_are_the_same_each_time_and_share_no_prompt_with_the_rest_of_the_corpus(stage):
    draw = functools.partial(lessons, stage) if stage != JUDGED else judgements
    drawn = draw(30)
    assert drawn == draw(40)[:30]
    assert all(in_share(each.prompt, ("lessons", "train")) for each in drawn)
    load = load_demonstrations if stage != JUDGED else load_comparisons
    assert load(f"lessons/{stage}[:20]", "train")[0] == drawn[0]


def test_the_best_response_of_a_judgement_is_right_and_the_others_are_wrong():
    for comparison in judgements(200):
        classes = [classify(comparison.prompt, response) for response in comparison.responses]
        assert [name == "right" for name in classes] == [rank == 1 for rank in comparison.ranks]
        assert set(classes) - {"right"} <= {"wrong_value", "wrong_item"}


@pytest.mark.usefixtures("few_texts")
def test_lessons_have_one_kind_of_data_and_no_other_split():
    with pytest.raises(InputError, match="lessons/recall has demonstrations only, for pretraining, and no comparisons"):
        load_comparisons("lessons/recall", "train")
    with pytest.raises(InputError, match="lessons/judged has comparisons only, for pretraining, and no demonstrations"):
        load_demonstrations("lessons/judged", "train")
    for load, name in ((load_demonstrations, "recall"), (load_comparisons, "judged")):
        with pytest.raises(InputError, match=f"lessons/{name} has no split 'test': it has train only"):
            load(f"lessons/{name}", "test")


@pytest.mark.parametrize("size", SIZES)
def test_a_model_of_the_package_was_made_from_the_lessons_of_today(size):
    origin = json.loads((START / size / pretraining.ORIGIN).read_text())
    assert (origin["size"], origin["seed"]) == (size, 0)
    assert origin["stages"] == pretraining.recipe()
    assert origin["lessons"] == {stage: pretraining.lessons_digest(stage) for stage in STAGES}


@pytest.mark.parametrize("size", SIZES)
def test_a_model_of_the_package_reads_its_prompts(size):
    """It prefers right answers as often as its pretraining measured, on fewer edits."""
    edits = [edit for edit in minimal_edits() if edit.subset == "facts_3_4"]
    model = load_language_model(locate(f"embedded/{size}"), max_prompt=320, max_response=191)
    scores = model.log_probs([edit.prompt for edit in edits], [(edit.right, edit.edited) for edit in edits])
    preferred = np.mean([right.sum() > edited.sum() for right, edited in scores])
    origin = json.loads((START / size / pretraining.ORIGIN).read_text())
    assert preferred == pytest.approx(origin["minimal_edits"]["subsets"]["facts_3_4"], abs=0.03)
    assert (preferred > 0.8) == (size not in ("tiny", "mini"))  # too small to bind a value to its item


def test_a_model_that_the_package_lacks_is_an_error_that_names_those_it_has():
    with pytest.raises(InputError, match=f"unknown model embedded/huge: known are embedded/{SIZES[0]}"):
        locate("embedded/huge")


@pytest.mark.usefixtures("quick_compilation", "few_texts")
def test_a_shrunken_pretraining_from_the_first_stage_to_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "SIZES", {"small": (96, 4, 6, 256), "mini": (16, 1, 2, 16)})
    monkeypatch.setattr(pretraining, "VOCABULARY", 400)
    monkeypatch.setattr("rmjax.stages.minimal_edits.minimal_edits", lambda: minimal_edits(2))
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        pretraining.pretrain("mini", tmp_path / "mini", tmp_path / "runs", config, texts=40)
    origin = json.loads((tmp_path / "mini" / pretraining.ORIGIN).read_text())
    assert (origin["size"], origin["texts"]) == ("mini", 40)
    written = load_language_model(tmp_path / "mini", max_prompt=320, max_response=191)
    # The trunk of the last run, a reward model, as a language model with its own scale of the embeddings.
    checkpoint = find_checkpoint(tmp_path / "runs" / JUDGED)
    contract = read_contract(checkpoint / "contract.json")
    params = written.layout.device_put({"trunk": load_params(checkpoint, contract, written.layout)["trunk"]})
    trained = dataclasses.replace(written, params=params, config=contract.trunk)
    assert trained.config.embedding_scale == 4.0
    edits = minimal_edits()[::100]
    texts = [edit.prompt for edit in edits], [(edit.right, edit.edited) for edit in edits]
    for ours, theirs in zip(trained.log_probs(*texts), written.log_probs(*texts), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="mini exists already: give a new folder"):
        pretraining.pretrain("mini", tmp_path / "mini", tmp_path / "runs", config, texts=40)
