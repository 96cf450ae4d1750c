"""Comparison with transformers' torch models, in both directions: `pytest -m parity`.

Fresh random models of every family, so that nothing rests on the golden files; reward models of ours as other tools
open them; and one trained elsewhere as we open it.
"""

import contextlib
import dataclasses
import io
import re

import numpy as np
import pytest
from conftest import TEXTS
from data.test_tokenizer import CHATML, sentencepiece, wordpiece
from golden.compare import GOLDEN, WIDE, as_examples, classify, load_language_model, load_reward, read_logits
from naive import assert_close
from scoring.test_hub import make_reward_model, with_template
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from rmjax.data.bpe import EOS, train_bpe
from rmjax.data.tokenizer import Tokenizer
from rmjax.models.export import write_pretrained
from rmjax.models.pretrained import open_pretrained
from rmjax.scoring.checkpoint import load
from rmjax.scoring.hub import export_reward_model

torch = pytest.importorskip("torch")

from golden import generate  # noqa: E402 (it imports torch)

pytestmark = pytest.mark.parity

TOLERANCE = 1e-4
SEED = 1  # the golden files are made with 0


def open_in_torch(auto, folder):
    """The model, of whose parameters none was missing, left over or of another shape."""
    model, info = auto.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


@pytest.fixture(scope="module", params=list(generate.CONFIGS))
def family(request, tmp_path_factory):
    """(name, a fresh model in torch, what it computes, the folder of its checkpoints)."""
    folder = tmp_path_factory.mktemp(request.param)
    made = generate.make(request.param, SEED)
    made.classifier.save_pretrained(folder / "classifier")
    if made.language_model:
        made.language_model.save_pretrained(folder / "language_model")
    return request.param, made, generate.expect(made, seed=99), folder


def test_a_fresh_model_computes_here_what_it_computes_in_torch(family):
    name, _, expected, folder = family
    golden = np.load(GOLDEN / name / "expected.npz")
    assert not np.allclose(golden["scores"], expected["scores"])
    pretrained = open_pretrained(str(folder / "classifier"))
    hidden, scores = classify(pretrained, load_reward(pretrained), as_examples(expected), WIDE)
    assert_close(hidden, expected["hidden"], TOLERANCE)
    assert_close(scores, expected["scores"], TOLERANCE)
    if pretrained.config.causal:
        pretrained = open_pretrained(str(folder / "language_model"))
        logits = read_logits(pretrained, load_language_model(pretrained), as_examples(expected), WIDE)
        assert_close(logits, expected["logits"], TOLERANCE)


def test_an_exported_model_computes_in_torch_what_it_computed_there(family, tmp_path):
    _, made, expected, folder = family
    pretrained = open_pretrained(str(folder / "classifier"))
    written = {"dtype": np.dtype("float32"), "fields": {"pad_token_id": 0}}
    write_pretrained(tmp_path / "classifier", pretrained.config, load_reward(pretrained), head="helpful", **written)
    classifier, language_model = open_in_torch(AutoModelForSequenceClassification, tmp_path / "classifier"), None
    assert type(classifier) is type(made.classifier)
    if made.language_model:
        pretrained = open_pretrained(str(folder / "language_model"))
        params = load_language_model(pretrained)
        write_pretrained(tmp_path / "language_model", pretrained.config, params, head=None, **written)
        language_model = open_in_torch(AutoModelForCausalLM, tmp_path / "language_model")
        assert type(language_model) is type(made.language_model)
    found = generate.expect(generate.Made(classifier, language_model), seed=99)
    np.testing.assert_array_equal(found["tokens"], expected["tokens"])
    for key in expected.keys() - {"tokens", "lengths", "prompts"}:
        assert_close(found[key], expected[key], TOLERANCE)


# (turns before the answer, the answer), of different lengths, so that a batch of them is padded.
CONVERSATIONS = [
    (["How do I boil an egg?"], "Put it in boiling water."),
    (["Why?"], "Of course"),
    (["Why?"], "I will not help with that, but here is what you can do instead."),
    (["What is the capital of France?", "Paris, of course.", "Why?"], "then cool it"),
]


def as_messages(turns):
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


def score_here(model, **options):
    prompts = [as_messages(turns) for turns, _ in CONVERSATIONS]
    return model.score(prompts, [answer for _, answer in CONVERSATIONS], **options)


def score_in_torch(model, hf, side):
    """One batch of what the chat template writes, padded on one side."""
    rendered = [
        hf.apply_chat_template(as_messages([*turns, answer]), tokenize=False) for turns, answer in CONVERSATIONS
    ]
    batch = hf(rendered, add_special_tokens=False, padding=True, padding_side=side, return_tensors="pt")
    assert (batch["attention_mask"] == 0).any()
    with torch.no_grad():
        return model(**batch).logits[:, 0].numpy()


def bytes_with_markers(folder):
    """A BPE of our own, as a run without a named tokenizer has it."""
    return Tokenizer(train_bpe(TEXTS, 300), max_prompt=80, max_response=40)


def sentencepiece_padded_with_eos(folder):
    """BOS before a text, and a padding that export has to replace."""
    hf = sentencepiece()
    hf.pad_token = EOS
    return with_template(hf, folder, max_prompt=80, max_response=60)


def wordpiece_between_cls_and_sep(folder):
    return with_template(wordpiece(), folder, max_prompt=120, max_response=80)


@pytest.fixture(
    scope="module",
    params=[
        ("llama3", bytes_with_markers),
        ("gpt_neox", sentencepiece_padded_with_eos),
        ("bert", wordpiece_between_cls_and_sep),
        ("distilbert", wordpiece_between_cls_and_sep),
    ],
    ids=lambda param: param[0],
)
def ours(request, tmp_path_factory, one_device):
    """(a reward model of rmjax, the folder that its head `safety` was exported to)."""
    family, make_tokenizer = request.param
    folder = tmp_path_factory.mktemp(family)
    tokenizer = make_tokenizer(folder / "tokenizer")
    trunk = open_pretrained(str(GOLDEN / family / "classifier")).config
    trunk = dataclasses.replace(trunk, vocab_size=tokenizer.vocab_size, max_positions=tokenizer.max_length)
    model = make_reward_model(trunk, tokenizer, one_device)
    export_reward_model(model, folder / "exported", head="safety", dtype="float32")
    return model, folder / "exported"


def test_a_reward_model_of_ours_scores_the_same_in_torch(ours):
    model, folder = ours
    hf = AutoTokenizer.from_pretrained(folder)
    scores = score_in_torch(open_in_torch(AutoModelForSequenceClassification, folder), hf, "right")
    assert_close(scores, score_here(model, head="safety"), TOLERANCE)


def test_the_code_on_the_model_card_prints_the_score(ours):
    model, folder = ours
    (code,) = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    expected = model.score("Hi, how are you?", "Great, and you?", head="safety")
    spread = float(np.std(score_here(model, head="safety")))
    assert float(printed.getvalue()) == pytest.approx(float(expected), abs=TOLERANCE * spread)


# As CHATML, but nothing follows the EOS of an answer.
ENDS_WITH_EOS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>"
    "{% if not loop.last %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}\n<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("template", [CHATML, ENDS_WITH_EOS], ids=["newline", "eos"])
@pytest.mark.parametrize("pad", ["<|im_end|>", "<|pad|>"], ids=["pad is eos", "pad of its own"])
def test_a_reward_model_trained_elsewhere_scores_here_as_there(tmp_path, template, pad):
    """Padded with EOS and ending with it, a text is read one token before its end: in torch, so here."""
    hf = train_bpe(TEXTS, 300)
    hf.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    hf.eos_token, hf.pad_token, hf.padding_side, hf.chat_template = "<|im_end|>", pad, "left", template
    hf.save_pretrained(tmp_path)
    sizes = {**generate.GROUPED, "vocab_size": len(hf), "max_position_embeddings": 256}
    config = LlamaConfig(**sizes, num_labels=1, pad_token_id=hf.pad_token_id, eos_token_id=hf.eos_token_id)
    there = LlamaForSequenceClassification(config).eval()
    generate.randomise(there, torch.Generator().manual_seed(SEED), offset=1.0)
    there.save_pretrained(tmp_path)

    here = load(tmp_path, devices=1)
    assert (here.tokenizer.ending == ()) == (pad == "<|im_end|>" and template == ENDS_WITH_EOS)
    expected = score_in_torch(there, AutoTokenizer.from_pretrained(tmp_path), "left")
    assert_close(score_here(here), expected, TOLERANCE)
