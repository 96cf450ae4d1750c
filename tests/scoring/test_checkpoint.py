"""Checkpoints: writing, damage, and scores after loading."""

import copy
import dataclasses
import errno
import hashlib
import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import user
from etils import epath
from naive import assert_close, make_params

from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.config import default_head
from rmjax.models.reward import RewardTransformer
from rmjax.parallel.layout import make_layout
from rmjax.scoring import run_checkpoints
from rmjax.scoring.checkpoint import load, load_tree, save_checkpoint
from rmjax.scoring.contract import FORMAT, check_canaries
from rmjax.scoring.finalize import finalize
from rmjax.scoring.manifest import verify_files
from rmjax.scoring.run_checkpoints import NEEDED, find_checkpoint, last_checkpoint, list_checkpoints, remove_later

ONE = make_layout(layout="pmap", devices=1)
OPTIMIZER = {"step": jnp.asarray(7, jnp.int32), "opt_state": ({"mu": jnp.arange(3.0)}, ())}
QUESTION = ("How do I boil an egg?", ["Put it in boiling water.", ""])


@pytest.fixture(scope="module")
def params(tiny_trunk):
    return make_params(
        RewardTransformer(tiny_trunk, default_head(("helpful", "safety"), tiny_trunk), jnp.dtype("float32"))
    )


@pytest.fixture(scope="module")
def save(reward_model, tokenizer, params):
    """(root, step, params, keep, changes to the contract) -> path of the checkpoint."""

    def run(root, step=7, params=params, keep=9, **changes):
        contract = dataclasses.replace(reward_model.contract, step=step, **changes)
        return save_checkpoint(root, contract, tokenizer, params, OPTIMIZER, keep=keep)

    return run


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, save):
    """A run with the checkpoints 5 and 12; not to be changed."""
    run = tmp_path_factory.mktemp("run")
    for step in (5, 12):
        save(run / "checkpoints", step)
    return run


@pytest.fixture
def run(tmp_path, pristine):
    """A copy of the run to damage."""
    shutil.copytree(pristine, tmp_path / "run")
    return tmp_path / "run"


def flip_a_byte(checkpoint):
    """Changes the middle byte of the largest file of the parameters."""
    path = max((p for p in (checkpoint / "params").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_saved_comes_back(pristine, params):
    checkpoint = find_checkpoint(pristine)
    assert checkpoint == pristine / "checkpoints" / "000012"
    jax.tree.map(np.testing.assert_array_equal, load_tree(checkpoint / "params", layout=ONE), params)
    stored = load_tree(checkpoint / "optimizer", jax.tree.map(jnp.zeros_like, OPTIMIZER), layout=ONE)
    assert jax.tree.structure(stored) == jax.tree.structure(OPTIMIZER)
    jax.tree.map(np.testing.assert_array_equal, stored, OPTIMIZER)


def test_a_loaded_model_scores_as_the_one_that_was_saved(pristine, reward_model):
    model = load(pristine, devices=1)
    assert model.heads == ("helpful", "safety")
    assert model.contract == dataclasses.replace(reward_model.contract, step=12)
    for scale in ("raw", "normalized", "probability"):
        np.testing.assert_allclose(
            model.score(*QUESTION, scale, "safety"), reward_model.score(*QUESTION, scale, "safety"), rtol=1e-5
        )


def test_a_run_its_checkpoints_folder_and_a_checkpoint_may_be_named(pristine):
    root = pristine / "checkpoints"
    assert find_checkpoint(pristine) == find_checkpoint(root) == root / "000012"
    assert find_checkpoint(root / "000005") == root / "000005"
    assert find_checkpoint(str(pristine)) == root / "000012"


def test_a_run_that_is_not_finished_is_said(run, capsys):
    find_checkpoint(run)
    assert not capsys.readouterr().err
    (run / "config.json").write_text("{}")
    find_checkpoint(run)
    assert f"the run {run} is not finished: step 12 is used" in capsys.readouterr().err
    (run / "evaluation.json").write_text("{}")
    find_checkpoint(run)
    assert not capsys.readouterr().err


def test_a_flipped_byte_is_noticed_and_the_older_checkpoint_taken(run, capsys):
    newest = run / "checkpoints" / "000012"
    flip_a_byte(newest)
    assert "has changed since it was written" in verify_files(newest, NEEDED)
    assert find_checkpoint(run).name == "000005"
    assert "skipping the damaged checkpoint" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"000012 is damaged: .* has changed"):
        find_checkpoint(newest)
    with pytest.raises(InputError, match="is damaged"):
        load(newest, verify=False)


def test_a_missing_file_is_noticed(run, capsys):
    newest = run / "checkpoints" / "000012"
    (newest / "tokenizer" / "tokenizer.json").unlink()
    assert verify_files(newest, NEEDED) == "tokenizer/tokenizer.json is missing"
    assert find_checkpoint(run).name == "000005"
    assert "tokenizer.json is missing" in capsys.readouterr().err


def test_a_changed_contract_is_noticed(run):
    path = run / "checkpoints" / "000012" / "contract.json"
    path.write_text(path.read_text().replace('"max_response": 12', '"max_response": 13'))
    assert verify_files(path.parent, NEEDED) == "contract.json has changed since it was written"


@pytest.mark.parametrize("text", [None, "", "{"])
def test_without_a_manifest_nothing_is_believed(run, text):
    path = run / "checkpoints" / "000012" / "manifest.json"
    path.unlink() if text is None else path.write_text(text)
    assert verify_files(path.parent, NEEDED) == "no readable manifest.json"


@pytest.mark.parametrize("reading", ["rmjax.scoring.manifest._sha256", "pathlib.Path.read_bytes"])
def test_an_error_of_the_machine_is_no_damage(run, monkeypatch, reading):
    """A resumed run deletes damaged checkpoints, so a sound one must not count as damaged."""

    def failing(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(reading, failing)
    with pytest.raises(InputError, match=r"000012/.* cannot be read \(Input/output error\): whether .* try again"):
        find_checkpoint(run)


def test_when_all_are_damaged_it_is_an_error(run):
    for checkpoint in list_checkpoints(run / "checkpoints"):
        flip_a_byte(checkpoint)
    with pytest.raises(InputError, match="has no undamaged checkpoint"):
        find_checkpoint(run)


def test_a_partial_folder_is_ignored_and_written_over(run, save):
    root = run / "checkpoints"
    shutil.copytree(root / "000012", root / "000020.partial")
    (root / "000020.partial" / "left over").write_text("from a run that was killed")
    assert find_checkpoint(run).name == "000012"
    final = save(root, 20)
    assert not (final / "left over").exists()
    assert not (root / "000020.partial").exists()
    assert verify_files(final, NEEDED) == ""


def test_only_the_newest_are_kept(run, save):
    root = run / "checkpoints"
    save(root, 100, keep=2)
    assert [path.name for path in list_checkpoints(root)] == ["000012", "000100"]
    save(root, 1_000_000, keep=2)
    assert [path.name for path in list_checkpoints(root)] == ["000100", "1000000"]


def test_a_run_goes_on_from_the_last_undamaged_checkpoint_and_deletes_the_others(run, save):
    root = run / "checkpoints"
    flip_a_byte(save(root, 20))
    (root / "000030.partial").mkdir()
    assert last_checkpoint(root) == root / "000012"
    assert sorted(path.name for path in root.iterdir()) == ["000005", "000012"]


def test_only_the_main_process_deletes(run, monkeypatch):
    """Two processes that delete the same folder at once fail, one or the other."""
    root = run / "checkpoints"
    (root / "000030.partial").mkdir()
    before = sorted(root.iterdir())
    monkeypatch.setattr(run_checkpoints, "is_main_process", lambda: False)
    remove_later(root / "000005")
    last_checkpoint(root)
    assert sorted(root.iterdir()) == before
    monkeypatch.undo()
    remove_later(root / "000005")
    assert [path.name for path in list_checkpoints(root)] == ["000005"]


def test_the_same_step_is_written_over(run, save, params):
    other = jax.tree.map(lambda x: x + 1, params)
    path = save(run / "checkpoints", 12, other)
    assert verify_files(path, NEEDED) == ""
    jax.tree.map(np.testing.assert_array_equal, load_tree(path / "params", layout=ONE), other)


def test_nothing_there_is_an_error_that_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"there is no checkpoint at .*nowhere: give a run directory"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no undamaged checkpoint"):
        find_checkpoint(tmp_path)
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_a_perturbed_head_is_refused_unless_not_verified(tmp_path, save, params):
    wrong = {**params, "reward": {**params["reward"], "safety": params["reward"]["safety"] * 1.01}}
    path = save(tmp_path, params=wrong)
    with pytest.raises(InputError, match=r"does not score as it did .* head 'safety'"):
        load(path, devices=1)
    model = load(path, verify=False, devices=1)
    assert np.isfinite(model.score(*QUESTION, head="safety")).all()


def test_a_bfloat16_model_is_recognised_by_what_float32_gives(
    tmp_path, make_model, tokenizer, params, reward_model, references
):
    """Its own scores are too coarse for the canaries, and rounding is another on every machine."""
    model = make_model(params=params, compute_dtype="bfloat16")
    model.contract = finalize(model, references, "made-up texts", step=3)
    canaries = model.contract.canaries
    prompts, responses = [canary.prompt for canary in canaries], [[canary.response] for canary in canaries]
    columns = [model.heads.index(canary.head) for canary in canaries]

    def scores(model, exact):
        raw = model.score_groups(prompts, responses, exact=exact).raw
        return np.array([scores_KxZ[0, z] for scores_KxZ, z in zip(raw, columns, strict=True)])

    assert_close(scores(model, exact=True), scores(reward_model, exact=True))
    check_canaries(canaries, scores(model, exact=True), tmp_path)
    with pytest.raises(InputError, match="does not score as it did"):
        check_canaries(canaries, scores(model, exact=False), tmp_path)

    path = save_checkpoint(tmp_path, model.contract, tokenizer, params, OPTIMIZER, keep=1)
    loaded = load(path, devices=1)
    assert loaded.contract.compute_dtype == "bfloat16"
    np.testing.assert_array_equal(scores(loaded, exact=False), scores(model, exact=False))


@pytest.mark.parametrize("changes", [{"max_response": 4}, {"max_prompt": 6}])
def test_another_truncation_is_refused(tmp_path, save, changes):
    path = save(tmp_path, **changes)
    with pytest.raises(InputError, match="does not score as it did"):
        load(path, devices=1)


@pytest.mark.parametrize("changes", [{"chat_template": "{{ messages }}"}, {"ending": (0,)}])
def test_a_tokenizer_other_than_the_contract_states_is_refused(tmp_path, save, changes):
    path = save(tmp_path, **changes)
    with pytest.raises(InputError, match="another chat template or ending than its contract states"):
        load(path, verify=False)


def test_a_language_model_has_no_scores(tmp_path, save, tiny_trunk):
    head = default_head((), tiny_trunk)
    path = save(tmp_path, kind="language_model", head=head, canaries=(), normalization={})
    with pytest.raises(InputError, match=r"is a language model without scores: .* --config.init="):
        load(path)


def test_a_checkpoint_renders_its_texts_as_on_the_day_it_was_trained(tmp_path, make_model, params, references):
    """Its template prints the date, and special tokens are read as the run read them."""
    hf = copy.deepcopy(make_model().tokenizer.hf)
    hf.chat_template = "{{ strftime_now('%d %b %Y') }}" + hf.chat_template
    tokenizer = Tokenizer(hf, max_prompt=24, max_response=12, date="2031-03-05", split_special_tokens=False)
    model = make_model(params=params, **tokenizer.stated())
    model.tokenizer = tokenizer
    model.contract = finalize(model, references, "made-up texts", step=1)
    save_checkpoint(tmp_path / "checkpoints", model.contract, tokenizer, params, OPTIMIZER, keep=1)
    loaded = load(tmp_path)  # the canaries would refuse it with another date
    assert loaded.tokenizer.stated() == tokenizer.stated()
    texts = [user("<|user|>a")], [["b", "c<|eos|>d"]]
    assert_close(loaded.raw(*texts), model.raw(*texts))


def test_another_format_is_refused(run):
    """Also where the file was changed with its manifest, as a newer version would write it."""
    checkpoint = run / "checkpoints" / "000012"
    path = checkpoint / "contract.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    content = path.read_bytes()
    manifest["contract.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"has format {FORMAT + 1}, this rmjax reads format {FORMAT}"):
        load(checkpoint)


def test_a_save_on_a_full_disk_leaves_the_older_checkpoint_and_says_one_sentence(save, tmp_path, monkeypatch, capfd):
    """The disk gets full in a thread of orbax."""
    older = save(tmp_path, 1)
    before = sorted(path.relative_to(older) for path in older.rglob("*"))
    write_text = type(epath.Path(older)).write_text

    def full(path, *arguments, **options):
        if path.name == "_METADATA":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_text(path, *arguments, **options)

    monkeypatch.setattr(type(epath.Path(older)), "write_text", full)
    with pytest.raises(InputError, match=r"000002 cannot be written \(No space left on device\)"):
        save(tmp_path, 2)
    assert "Traceback" not in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    assert sorted(path.relative_to(older) for path in older.rglob("*")) == before
    assert verify_files(older, NEEDED) == ""
