"""Cached token ids equal those of the tokenizer; other settings or texts have other cache entries."""

import itertools
import json

import numpy as np
import pytest

from rmjax.data import disk_cache as store
from rmjax.data import token_cache as token_store
from rmjax.data.bpe import train_bpe
from rmjax.data.comparisons import Message
from rmjax.data.examples import encode_groups, tokenize
from rmjax.data.token_cache import cached_bpe, cached_groups
from rmjax.data.token_groups import TokenGroups
from rmjax.data.tokenizer import Tokenizer

TEXTS = ("How do I boil an egg?", "Seven minutes in boiling water.", "I cannot help with that.")
PROMPTS = [(Message("user", "How long?"),), (Message("system", "Be brief."), Message("user", "Why? " * 9))]
RESPONSES = [("Seven minutes.", ""), ("Because.", "Because.", "Seven minutes in boiling water. " * 5)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FOLDER", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def encoded(monkeypatch):
    """Counts how often anything was encoded."""
    calls = []
    monkeypatch.setattr(token_store, "tokenize", lambda *parts: calls.append(1) or tokenize(*parts))
    return calls


def plain(groups):
    """(ids, cut) of the prompt and the responses of every group, from flat arrays or from lists."""
    if isinstance(groups, TokenGroups):
        cuts = [groups.cut_T[a:b].tolist() for a, b in itertools.pairwise(groups.first_G)]
        texts = [[ids.tolist() for ids in groups.texts(index)] for index in range(len(groups))]
        return [list(zip(*group, strict=True)) for group in zip(texts, cuts, strict=True)]
    return [[(t.ids.tolist(), t.cut) for t in (prompt, *group)] for prompt, group in zip(*groups, strict=True)]


def test_ids_are_those_of_the_tokenizer_and_made_once(tokenizer, encoded):
    expected = encode_groups(PROMPTS, RESPONSES, tokenizer)
    assert any(each.cut for each in expected[0])
    assert expected[1][1][2].cut
    for _ in range(2):
        found = cached_groups(PROMPTS, RESPONSES, tokenizer)
        assert plain(found) == plain(expected)
        assert found.ids.dtype == np.uint16
        assert all(ids.dtype == np.int32 for ids in found.texts(1))
    assert len(encoded) == 1


def test_no_texts_have_no_ids(tokenizer):
    for _ in range(2):
        assert len(cached_groups([], [], tokenizer)) == 0


@pytest.mark.parametrize(
    ("prompts", "responses"),
    [
        (PROMPTS[::-1], RESPONSES),
        (PROMPTS, RESPONSES[::-1]),
        ([(Message("system", "How long?"), *PROMPTS[0][1:], Message("user", "x")), PROMPTS[1]], RESPONSES),
        # The same words, divided otherwise.
        (PROMPTS, [("Seven minutes.",), ("", "Because.", "Because.", RESPONSES[1][2])]),
    ],
)
def test_other_texts_have_other_ids(tokenizer, encoded, prompts, responses):
    cached_groups(PROMPTS, RESPONSES, tokenizer)
    assert plain(cached_groups(prompts, responses, tokenizer)) == plain(encode_groups(prompts, responses, tokenizer))
    assert len(encoded) == 2


def test_every_setting_of_a_tokenizer_counts(encoded):
    def made(vocabulary=300, template=None, eos=None, **settings):
        hf = train_bpe(TEXTS, vocabulary)
        hf.chat_template = template or hf.chat_template
        if eos:
            hf.eos_token = eos
        return Tokenizer(hf, **{"max_prompt": 24, "max_response": 12, **settings})

    markers = made().hf.chat_template
    different = [
        made(),
        made(vocabulary=290),
        made(max_prompt=23),
        made(max_response=11),
        made(template=markers.replace("message.content }}", "message.content }} ")),
        made(template=markers.replace("message.content }}", "message.content | upper }}")),
        made(eos="<|pad|>", template=markers.replace("<|eos|>", "")),
        made(pad_id=1),
        made(date="2026-11-23"),
        made(split_special_tokens=False),
    ]
    assert len({tokenizer.identity() for tokenizer in different}) == len(different)
    assert made().identity() == made().identity()
    answers = [("Seven minutes.", "Eight."), *RESPONSES[1:]]  # an empty one needs an ending, which pad_id=1 takes away
    for tokenizer in different:
        assert plain(cached_groups(PROMPTS, answers, tokenizer)) == plain(encode_groups(PROMPTS, answers, tokenizer))
    assert len(encoded) == len(different)


def test_a_new_version_of_a_package_encodes_again(tokenizer, encoded, monkeypatch):
    cached_groups(PROMPTS, RESPONSES, tokenizer)
    version = token_store.importlib.metadata.version
    monkeypatch.setattr(token_store.importlib.metadata, "version", lambda name: version(name) + "+1")
    cached_groups(PROMPTS, RESPONSES, tokenizer)
    assert len(encoded) == 2


def test_a_bpe_is_trained_once_and_saves_the_same_files(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(token_store, "train_bpe", lambda *parts: trained.append(1) or train_bpe(*parts))
    direct, first, again = train_bpe(TEXTS, 300), cached_bpe(TEXTS, 300), cached_bpe(TEXTS, 300)
    assert len(trained) == 1
    for name, tokenizer in (("direct", direct), ("first", first), ("again", again)):
        tokenizer.save_pretrained(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        contents = {(tmp_path / name / file).read_text() for name in ("direct", "first", "again")}
        assert len(contents) == 1
    assert json.loads((tmp_path / "again" / "tokenizer.json").read_text())["model"]["vocab"] == direct.get_vocab()
    cached_bpe(TEXTS, 299)
    cached_bpe(TEXTS[::-1], 300)
    assert len(trained) == 3
