"""Reward models in Hugging Face's format: equal scores after export and loading, and refused folders."""

import ast
import copy
import dataclasses
import json
import re
import shutil
import stat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import encode_text, user
from data.test_tokenizer import sentencepiece, wordpiece
from golden.compare import GOLDEN, copy_golden, edit_config, edit_tensors
from naive import assert_close, naive_scores
from safetensors.numpy import load_file
from transformers import AutoTokenizer

import rmjax
from rmjax.data.batch import Example
from rmjax.data.bpe import EOS, PAD
from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.models.config import default_head
from rmjax.models.pretrained import open_pretrained
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_shapes
from rmjax.parallel.layout import make_layout
from rmjax.scoring.checkpoint import load
from rmjax.scoring.contract import Contract
from rmjax.scoring.hub import check_tokenizer, export_reward_model, load_classifier
from rmjax.scoring.link import Link
from rmjax.scoring.model_card import model_card
from rmjax.scoring.reward_model import RewardModel

ONE = make_layout(layout="pmap", devices=1)
PROMPTS = ["Why?", "Is it an egg?", "Why?", "Paris?"]
ANSWERS = ["Yes.", "", "Put it in.", "of course"]
LIMITS = {"max_prompt": 24, "max_response": 12}


@pytest.fixture(scope="module")
def model(reward_model):
    """The model that most of these tests export."""
    copied = copy.copy(reward_model)
    data = {"source": "hh-rlhf", "start": "runs/sft"}
    copied.contract = dataclasses.replace(reward_model.contract, data=data, step=321)
    return copied


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Its head `safety` as a folder, not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "safety"
    export_reward_model(model, folder, head="safety", dtype="float32")
    return folder


@pytest.fixture(scope="module")
def build(one_device):
    """(trunk, tokenizer) -> a RewardModel with the heads helpful and safety and made-up parameters."""
    return lambda trunk, tokenizer: make_reward_model(trunk, tokenizer, one_device)


def make_reward_model(trunk, tokenizer, layout):
    """See `build`."""
    contract = Contract(
        kind="reward_model",
        step=0,
        trunk=trunk,
        head=default_head(("helpful", "safety"), trunk),
        compute_dtype="float32",
        **tokenizer.stated(),
        data={"source": "made up", "start": "random"},
    )
    params = draw(RewardTransformer(trunk, contract.head, jnp.dtype("float32")))
    return RewardModel(layout.device_put(params), contract, tokenizer, layout)


def draw(module):
    """Made-up parameters, biases among them."""
    rng = np.random.default_rng(0)

    def value(path, x):
        mean = 1.0 if "scale" in jax.tree_util.keystr(path) else 0.0
        return jnp.asarray(mean + 0.3 * rng.normal(size=x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(value, parameter_shapes(module))


def read_json(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def with_template(hf, folder, **limits):
    """The tokenizer with the template `transcript`."""
    hf.save_pretrained(folder)
    return open_tokenizer(str(folder), template="transcript", **limits)


@pytest.mark.parametrize("head", ["helpful", "safety"])
def test_an_exported_head_scores_as_before(tmp_path, model, head):
    export_reward_model(model, tmp_path, head=head, dtype="float32")
    reopened = load(tmp_path)
    assert reopened.heads == (head,)
    assert_close(reopened.score(PROMPTS, ANSWERS), model.score(PROMPTS, ANSWERS, head=head))


@pytest.mark.parametrize(
    ("causal", "changes", "message"),
    [
        (True, {"pooling": "mean"}, r"head.pooling=mean .* LlamaForSequenceClassification computes head.pooling=last"),
        (True, {"bias": True}, r"head.bias=True .* LlamaForSequenceClassification computes head.bias=False"),
        (False, {"pooling": "last"}, r"head.pooling=last .* computes head.pooling=first"),
    ],
)
def test_a_head_that_transformers_computes_differently_is_not_exported(tmp_path, model, causal, changes, message):
    trunk = dataclasses.replace(model.contract.trunk, causal=causal)
    head = dataclasses.replace(default_head(model.heads, trunk), **changes)
    other = copy.copy(model)
    other.contract = dataclasses.replace(model.contract, trunk=trunk, head=head)
    with pytest.raises(InputError, match=message):
        export_reward_model(other, tmp_path / "out", head="helpful", dtype="float32")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("causal", "place"), [(True, "last"), (False, "first")])
def test_the_model_card_names_the_pooling(model, causal, place):
    other = copy.copy(model)
    head = default_head(model.heads, dataclasses.replace(model.contract.trunk, causal=causal))
    other.contract = dataclasses.replace(model.contract, head=head)
    assert f"The score is read at the {place} token of the text." in model_card(
        other, "helpful", "float32", Path("out")
    )


def test_an_export_states_what_its_scores_depend_on(tmp_path, model, tokenizer):
    """Reopened it has the link, the date and the reading of special tokens that the run had."""
    settings = {"date": "2031-03-05", "split_special_tokens": False}
    limits = {"max_prompt": tokenizer.max_prompt, "max_response": tokenizer.max_response}
    own = Tokenizer(copy.deepcopy(tokenizer.hf), **limits, **settings)
    contract = dataclasses.replace(model.contract, **settings, link=Link("rao_kupper", 0.25))
    export_reward_model(
        RewardModel(model.params, contract, own, model.layout), tmp_path, head="safety", dtype="float32"
    )
    reopened = load(tmp_path)
    assert reopened.link == Link("rao_kupper", 0.25)
    for found in (reopened.contract, reopened.tokenizer):
        assert (found.date, found.split_special_tokens) == ("2031-03-05", False)
    other = load_classifier(tmp_path, ONE, date="2030-01-01", split_special_tokens=True).contract
    assert (other.date, other.split_special_tokens) == ("2030-01-01", True)


def test_a_text_longer_than_half_of_the_positions_is_whole(tmp_path, model):
    """A folder states positions; a prompt and its response share them, whichever is the longer."""
    export_reward_model(model, tmp_path, head="safety", dtype="float32")
    config = read_json(tmp_path)
    del config["rmjax"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    reopened = load(tmp_path)
    room = config["max_position_embeddings"] - 1
    assert reopened.tokenizer.max_prompt + reopened.tokenizer.max_response == room
    (scored,) = reopened.score_groups([user("Why?")], [["x" * (room - 8), "x" * room]]).cut
    assert scored[0].tolist() == [0, 0]
    assert scored[1, 1] > 0


@pytest.mark.parametrize("limits", [{"max_prompt": 37}, {"max_response": 36}, {"max_prompt": -5, "max_response": -5}])
def test_limits_that_leave_no_room_are_refused(exported, tmp_path, limits):
    """Also where config.json states them, as an export does."""
    shutil.copytree(exported, tmp_path / "copy")
    stated = read_json(exported)["rmjax"]
    edit_config(tmp_path / "copy", rmjax={**stated, **dict.fromkeys(("max_prompt", "max_response"), 0)})
    with pytest.raises(InputError, match="max_prompt must be at least 2 and max_response at least 1"):
        load_classifier(tmp_path / "copy", ONE, **limits)
    edit_config(tmp_path / "copy", rmjax={**stated, "max_prompt": 0, "max_response": 0, **limits})
    with pytest.raises(InputError, match="max_prompt must be at least 2 and max_response at least 1"):
        load_classifier(tmp_path / "copy", ONE)


def test_load_is_the_one_door_to_both_formats(exported):
    contract = rmjax.load(exported, devices=1).contract
    assert (contract.kind, contract.heads, contract.compute_dtype) == ("reward_model", ("safety",), "float32")
    assert contract.trunk.max_positions == 37  # 24 + 12 and the ending
    assert (contract.max_prompt, contract.max_response) == (24, 12)
    assert contract.data["start"] == str(exported)


def test_long_texts_are_cut_where_training_cut_them(model, exported):
    """The export keeps its limits in a field of config.json that other tools pass over."""
    prompts, answers = ["Tell me a long story about an egg, please."] * 2, ["I will not help " * 4, "no"]
    reopened = load_classifier(exported, ONE)
    assert_close(reopened.score(prompts, answers), model.score(prompts, answers, head="safety"))


def test_a_folder_without_limits_gets_half_of_its_positions_each(tmp_path, exported):
    """37 positions, one of them for the ending."""
    shutil.copytree(exported, tmp_path / "foreign")
    path = tmp_path / "foreign" / "config.json"
    record = json.loads(path.read_text())
    del record["rmjax"]
    path.write_text(json.dumps(record))
    contract = load_classifier(tmp_path / "foreign", ONE).contract
    assert (contract.max_prompt, contract.max_response) == (18, 18)


def test_one_of_several_heads_must_be_named(tmp_path, model):
    with pytest.raises(InputError, match="several heads, name one: helpful, safety"):
        export_reward_model(model, tmp_path / "out", head=None, dtype="float32")
    with pytest.raises(InputError, match="no head 'harmless': it has helpful, safety"):
        export_reward_model(model, tmp_path / "out", head="harmless", dtype="float32")
    assert not (tmp_path / "out").exists()


def test_the_only_head_need_not_be_named(tmp_path, exported):
    """And an exported model is exported again as it is."""
    export_reward_model(load_classifier(exported, ONE, **LIMITS), tmp_path, head=None, dtype="float32")
    first, second = load_file(exported / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_array_equal(second[name], tensor)


def test_files_are_never_mixed_with_those_of_another_model(tmp_path, model):
    (tmp_path / "old.txt").write_text("mine")
    for output in (tmp_path, tmp_path / "old.txt"):
        with pytest.raises(InputError, match=f"{output} exists already: give a new folder"):
            export_reward_model(model, output, head="safety", dtype="float32")
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]


def test_the_padding_is_not_what_a_text_ends_with(model, exported):
    """Hugging Face's classifiers look for the last token that is not padding."""
    config, hf = read_json(exported), AutoTokenizer.from_pretrained(exported)
    assert (hf.pad_token, hf.eos_token) == (PAD, EOS)
    assert (config["pad_token_id"], config["eos_token_id"]) == (hf.pad_token_id, hf.eos_token_id) == (0, 1)
    assert config["pad_token_id"] not in model.tokenizer.ending
    assert config["vocab_size"] == model.contract.trunk.vocab_size


@pytest.mark.parametrize("pad", [None, EOS])
def test_a_missing_or_unfit_padding_becomes_a_token_of_its_own(tmp_path, build, tiny_trunk, pad):
    """With one more row in the embedding table, which no text ever reads."""
    hf = sentencepiece()
    hf.pad_token = pad
    tokenizer = with_template(hf, tmp_path / "tokenizer", **LIMITS)
    trunk = dataclasses.replace(tiny_trunk, vocab_size=len(hf))
    model = build(trunk, tokenizer)
    export_reward_model(model, tmp_path / "out", head="helpful", dtype="float32")

    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token_id == len(hf)
    assert read_json(tmp_path / "out")["pad_token_id"] == len(hf)
    assert read_json(tmp_path / "out")["vocab_size"] == len(hf) + 1
    table = load_file(tmp_path / "out" / "model.safetensors")["model.embed_tokens.weight"]
    np.testing.assert_array_equal(table[:-1], model.layout.unreplicate(model.params)["trunk"]["embedding"]["embedding"])
    assert table.shape[0] == len(hf) + 1
    assert not table[-1].any()
    assert_close(
        load_classifier(tmp_path / "out", ONE, **LIMITS).score(PROMPTS, ANSWERS),
        model.score(PROMPTS, ANSWERS, head="helpful"),
    )
    assert model.tokenizer.hf.pad_token == pad  # the model itself stays as it was
    assert model.contract.trunk == trunk


def test_half_as_wide_weights_give_nearly_the_same_scores(tmp_path, model):
    export_reward_model(model, tmp_path, head="safety", dtype="bfloat16")
    assert {tensor.dtype.name for tensor in load_file(tmp_path / "model.safetensors").values()} == {"bfloat16"}
    reopened = load_classifier(tmp_path, ONE, **LIMITS)
    assert reopened.contract.compute_dtype == "bfloat16"
    assert {leaf.dtype.name for leaf in jax.tree.leaves(reopened.params)} == {"bfloat16"}
    scores, wide = reopened.score(PROMPTS, ANSWERS), model.score(PROMPTS, ANSWERS, head="safety")
    assert_close(scores, wide, tolerance=0.1)
    assert not np.allclose(scores, wide, rtol=1e-5)


def test_the_model_card_says_what_a_score_depends_on(model, exported):
    card = (exported / "README.md").read_text(encoding="utf-8")
    reference = model.contract.normalization["safety"]
    assert f"(score - {reference.mean:.6g}) / {reference.std:.6g}" in card
    assert f"On {reference.count} made-up texts" in card
    assert "the answer, then `<|eos|>`" in card
    assert "read at the last token of the text. Weights are float32" in card
    assert "Texts of up to 37 tokens" in card
    assert "rmjax wrote 2024-07-26" in card
    for fact in ("# Reward model (safety)", "after 321 steps", "Trained on: hh-rlhf", "Started from: runs/sft"):
        assert fact in card
    assert "helpful" not in card


def test_the_model_card_has_the_licence_field_the_results_and_code_that_names_its_folder(tmp_path, model):
    result = {"accuracy": 0.625, "accuracy_ci95": [0.5, 0.75], "pairs": 1600, "prompts": 400, "length_baseline": 0.475}
    result |= {"ceiling": None, "calibration_error": 0.02}
    results = {"data": "hh_rlhf/test", "heads": {"safety": result, "helpful": None}}
    export_reward_model(model, tmp_path / "out", head="safety", dtype="float32", results=results)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "\nlicense: unknown  #" in card.split("---")[1]
    assert f'folder = "{tmp_path}/out"' in card
    (code,) = re.findall("```python\n(.*?)```", card, re.DOTALL)
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert "FOLDER" not in names
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:1] == "|"]
    assert ["accuracy", "62.5 % (95 % interval 50.0 to 75.0)"] in cells
    assert ["pairs, prompts", "1,600, 400"] in cells
    assert ["ceiling of noisy labels", "unknown"] in cells
    export_reward_model(model, tmp_path / "none", head="helpful", dtype="float32", results=results)
    assert "Not evaluated by the run" in (tmp_path / "none" / "README.md").read_text(encoding="utf-8")


def test_exported_files_have_the_permissions_of_other_files(tmp_path, exported):
    (tmp_path / "new").touch()
    modes = {file.name: stat.filemode(file.stat().st_mode) for file in exported.iterdir()}
    assert set(modes.values()) == {stat.filemode((tmp_path / "new").stat().st_mode)}, modes
    assert "model.safetensors" in modes


def test_a_card_without_reference_texts_says_so(tmp_path, model):
    unsealed = copy.copy(model)
    unsealed.contract = dataclasses.replace(model.contract, normalization={})
    export_reward_model(unsealed, tmp_path, head="safety", dtype="float32")
    assert "Only differences between scores of one prompt mean anything" in (tmp_path / "README.md").read_text()


def test_a_tokenizer_must_fit_the_trunk(tokenizer, tiny_trunk):
    check_tokenizer(tokenizer, tiny_trunk, "here")
    check_tokenizer(tokenizer, dataclasses.replace(tiny_trunk, max_positions=37, vocab_size=300), "here")
    with pytest.raises(InputError, match="tokenizer of here has 300 ids, but its embedding table only 299 rows"):
        check_tokenizer(tokenizer, dataclasses.replace(tiny_trunk, vocab_size=299), "here")
    message = "max_prompt=24 and max_response=12 make texts of up to 37 tokens, but here is made for 36: lower one"
    with pytest.raises(InputError, match=message):
        check_tokenizer(tokenizer, dataclasses.replace(tiny_trunk, max_positions=36), "here")


def test_limits_beyond_the_positions_are_refused_on_opening(exported):
    with pytest.raises(InputError, match="max_prompt=30 and max_response=12 make texts of up to 43 tokens"):
        load_classifier(exported, ONE, max_prompt=30)


def test_a_checkpoint_without_a_head_cannot_score():
    message = r"no sequence-classification head.*train a reward model from it with .*--config.model.path=\S+"
    with pytest.raises(InputError, match=message):
        load_classifier(GOLDEN / "llama" / "language_model", ONE)


@pytest.mark.parametrize(
    ("heads", "listed"),
    [
        (["judge.summary.weight", "judge.summary.bias"], "judge.summary.bias, judge.summary.weight"),
        (["score.0.weight", "score.4.weight", "lm_head.weight"], "lm_head.weight, score.0.weight, score.4.weight"),
        (["my_layer.weight"], "my_layer.weight"),
        ([f"value_head.{i}.weight" for i in range(8)], r"value_head.0.weight, .*, value_head.5.weight and 2 more"),
        (["model.value_head.weight"], "model.value_head.weight"),
        ([], "nothing"),
    ],
)
def test_a_head_under_another_name_is_named(tmp_path, heads, listed):
    """Outside the trunk's names or among them, which is where its own class put it."""
    folder = copy_golden("llama", "classifier", tmp_path)

    def replace(tensors):
        trunk = {name: tensor for name, tensor in tensors.items() if name != "score.weight"}
        return {**trunk, **{name: np.zeros((1, 16), np.float32) for name in heads}}

    edit_tensors(folder, replace)
    edit_config(folder, architectures=["LlamaForRewardModel"])
    message = (
        rf"head \(score.weight\).*: its class is LlamaForRewardModel, and beyond the trunk it holds {listed}; train"
    )
    with pytest.raises(InputError, match=message):
        load_classifier(folder, ONE)


def test_a_checkpoint_without_a_tokenizer_is_refused():
    with pytest.raises(InputError, match=r"no tokenizer at .*llama/classifier"):
        load_classifier(GOLDEN / "llama" / "classifier", ONE)


@pytest.fixture
def padded_with_eos(tmp_path, model):
    """As many reward models are published: EOS is the padding, so that their class reads the token before it."""
    export_reward_model(model, tmp_path, head="safety", dtype="float32")
    edit_config(tmp_path, pad_token_id=1)
    hf = AutoTokenizer.from_pretrained(tmp_path)
    hf.pad_token = hf.eos_token
    hf.save_pretrained(tmp_path)
    return load_classifier(tmp_path, ONE)


def test_where_the_padding_is_eos_the_score_is_read_before_it(padded_with_eos, model, tokenizer):
    assert padded_with_eos.contract.ending == padded_with_eos.tokenizer.ending == ()
    answers = [answer for answer in ANSWERS if answer]
    prompt = encode_text(tokenizer, "Why?")[0].ids
    example = Example(prompt, tuple(encode_text(tokenizer, "Why?", answer)[1].ids[:-1] for answer in answers))
    params = model.layout.unreplicate(model.params)
    (expected,) = naive_scores(params, model.contract.trunk, model.heads, [example])
    assert_close(padded_with_eos.score("Why?", answers), expected[:, 1])


def test_there_an_empty_response_has_no_token_to_be_read_at(padded_with_eos):
    with pytest.raises(InputError, match="an empty response has no token to be scored at"):
        padded_with_eos.score("Why?", ["Yes.", ""])


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def encoder(request, build, tmp_path_factory):
    """An encoder with 64 positions, read at [CLS]."""
    tokenizer = with_template(wordpiece(), tmp_path_factory.mktemp("tokenizer"), max_prompt=40, max_response=20)
    config = open_pretrained(str(GOLDEN / request.param / "classifier")).config
    return build(dataclasses.replace(config, vocab_size=tokenizer.vocab_size, max_positions=64), tokenizer)


def test_an_encoders_packed_scores_are_those_of_every_text_alone(encoder):
    together = encoder.score(PROMPTS, ANSWERS, head="helpful")
    alone = [encoder.score(prompt, answer, head="helpful") for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
    assert_close(together, alone)


def test_an_exported_encoder_scores_as_before(tmp_path, encoder):
    export_reward_model(encoder, tmp_path, head="safety", dtype="float32")
    reopened = load_classifier(tmp_path, ONE, max_prompt=40, max_response=20)
    assert reopened.tokenizer.ending == encoder.tokenizer.ending == (3,)  # [SEP]
    assert_close(reopened.score(PROMPTS, ANSWERS), encoder.score(PROMPTS, ANSWERS, head="safety"))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "read at the first token of the text" in card
    assert "the answer, then `[SEP]`" in card
