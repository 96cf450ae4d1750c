"""Tokenization: templates, EOS, truncation, round trips, and special tokens in texts."""

import numpy as np
import pytest
from conftest import TEXTS, encode_text, user

from rmjax.data.bpe import EOS, PAD, ROLE_MARKERS, train_bpe
from rmjax.data.comparisons import Message
from rmjax.data.examples import encode_alone
from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError

LIMITS = {"max_prompt": 24, "max_response": 12}


@pytest.fixture
def fresh():
    """A new tokenizer, for tests that change it."""
    return train_bpe(TEXTS, 300)


def encode_prompt(tokenizer, prompt):
    return encode_text(tokenizer, prompt)[0]


def encode_response(tokenizer, response):
    return encode_text(tokenizer, response=response)[1]


def decoded(tokenizer, ids):
    return tokenizer.hf.backend_tokenizer.decode(ids.tolist(), skip_special_tokens=False)


def test_a_prompt_is_rendered_up_to_the_answer(tokenizer):
    turns = (Message("system", "s"), Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    (encoded,) = tokenizer.encode_prompts([turns])
    assert decoded(tokenizer, encoded.ids) == "<|system|>s<|user|>a<|assistant|>b<|user|>c<|assistant|>"
    assert encoded.ids.dtype == np.int32


def test_the_transcript_template_writes_transcripts(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    opened = open_tokenizer(str(tmp_path), template="transcript", max_prompt=99, max_response=9)
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    (encoded,) = opened.encode_prompts([turns])
    assert decoded(opened, encoded.ids) == "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: "


LONG = "how do I boil an egg, and what is the capital, and boil it?"


def test_texts_that_fit_together_are_whole(tokenizer):
    """The limits are shares of one room: 24 + 12 tokens may be 33 of a prompt and 2 of a response."""
    whole = Tokenizer(tokenizer.hf, max_prompt=999, max_response=999)
    for prompt, response in ((LONG, "Yes."), ("hi", "x" * 30), ("hi", ""), ("x" * 30, "")):
        prompt_ids, response_ids = encode_text(tokenizer, prompt, response)
        assert prompt_ids.cut == response_ids.cut == 0
        assert len(prompt_ids.ids) > 24 or len(response_ids.ids) > 12 or response == ""
        assert prompt_ids.ids.tolist() == encode_text(whole, prompt, response)[0].ids.tolist()
        assert response_ids.ids.tolist() == encode_text(whole, prompt, response)[1].ids.tolist()


@pytest.mark.parametrize(
    ("prompt", "response", "lengths"),
    [
        (100, 5, (31, 5)),
        (100, 12, (24, 12)),
        (100, 50, (24, 12)),
        (10, 50, (10, 26)),
        (24, 12, (24, 12)),
        (36, 0, (36, 0)),
    ],
)
def test_each_side_uses_what_the_other_leaves(tokenizer, prompt, response, lengths):
    """By hand, in a room of 24 + 12."""
    assert tokenizer.truncated_lengths(prompt, response) == lengths


def test_both_too_long_keep_their_shares(tokenizer):
    whole = Tokenizer(tokenizer.hf, max_prompt=999, max_response=999)
    all_prompt, all_response = encode_text(whole, "x" * 60, "y" * 60)
    prompt, response = encode_text(tokenizer, "x" * 60, "y" * 60)
    assert prompt.ids.tolist() == all_prompt.ids[-24:].tolist()
    assert prompt.cut == len(all_prompt.ids) - 24
    assert response.ids.tolist() == [*all_response.ids[:12].tolist(), tokenizer.ending[-1]]
    assert response.cut == len(all_response.ids) - 1 - 12
    assert len(prompt.ids) + len(response.ids) == tokenizer.max_length == 37


@pytest.mark.parametrize("text", ["", "a", "Paris", "x" * 200])
def test_eos_is_the_last_token_and_occurs_once(tokenizer, text):
    encoded = encode_response(tokenizer, text)
    assert np.flatnonzero(encoded.ids == tokenizer.ending[-1]).tolist() == [len(encoded.ids) - 1]


def test_the_ids_of_a_text_do_not_depend_on_its_siblings(tokenizer):
    texts = ["Paris", "x" * 200, "", "the capital"]
    (together,) = encode_alone([user(LONG)], [texts], tokenizer)
    for text, (prompt, response) in zip(texts, together, strict=True):
        alone = encode_text(tokenizer, LONG, text)
        assert (prompt.ids.tolist(), prompt.cut) == (alone[0].ids.tolist(), alone[0].cut)
        assert (response.ids.tolist(), response.cut) == (alone[1].ids.tolist(), alone[1].cut)
    assert [prompt.cut > 0 for prompt, _ in together] == [False, True, False, False]


def test_responses_to_one_prompt_share_its_ids(tokenizer):
    """So that it is computed once."""
    (group,) = encode_alone([user("hi")], [["Paris", "the capital"]], tokenizer)
    assert group[0][0] is group[1][0]


@pytest.mark.parametrize("text", ["naïve café", "日本語 текст", "🙂👍🏽", "a\x00b\t\r\n ", "  two  ", "\u200b\ufeff"])
def test_any_text_survives(text):
    tokenizer = Tokenizer(train_bpe(TEXTS, 300), max_prompt=999, max_response=999)
    prompt, response = encode_text(tokenizer, text, text)
    assert decoded(tokenizer, response.ids) == text + EOS
    assert tokenizer.decode_response(response.ids) == text
    assert decoded(tokenizer, prompt.ids) == f"<|user|>{text}<|assistant|>"


def test_a_response_without_its_ending_is_decoded_whole(tokenizer):
    """As a model may generate it: stopped before EOS, or with an EOS in the middle."""
    ids = encode_response(tokenizer, "Yes, of course.").ids.tolist()
    eos = tokenizer.ending[-1]
    assert tokenizer.decode_response(ids) == tokenizer.decode_response(ids[:-1]) == "Yes, of course."
    assert tokenizer.decode_response([]) == tokenizer.decode_response([eos]) == ""
    assert tokenizer.decode_response([*ids, eos]) == f"Yes, of course.{EOS}"
    assert tokenizer.decode_response(encode_response(tokenizer, f"a{EOS}").ids[:-1]) == f"a{EOS}"


def test_a_tokenizer_that_changes_characters_decodes_the_changed_ones(tmp_path):
    wordpiece().save_pretrained(tmp_path)
    tokenizer = open_tokenizer(str(tmp_path), template="transcript", max_prompt=99, max_response=99)
    ids = encode_response(tokenizer, "The  Human").ids
    assert tokenizer.decode_response(ids) == " the human"


def test_the_trained_vocabulary_holds_bytes_specials_and_merges():
    tokenizer = train_bpe(TEXTS * 3, 290)
    assert len(tokenizer) == 290
    assert tokenizer.convert_tokens_to_ids([PAD, EOS, *ROLE_MARKERS]) == [0, 1, 2, 3, 4]
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_training_twice_gives_the_same_ids():
    assert train_bpe(TEXTS, 300).get_vocab() == train_bpe(TEXTS, 300).get_vocab()


def test_a_saved_tokenizer_opens_to_the_same_ids(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    opened = open_tokenizer(str(tmp_path), **LIMITS)
    assert (opened.ending[-1], opened.vocab_size) == (tokenizer.ending[-1], tokenizer.vocab_size)
    assert opened.hf.chat_template == tokenizer.hf.chat_template
    for text in (*TEXTS, "日本語", ""):
        for one, other in zip(encode_text(opened, text, text), encode_text(tokenizer, text, text), strict=True):
            assert one.ids.tolist() == other.ids.tolist()


def test_truncation_and_padding_stored_with_a_tokenizer_do_not_act(tmp_path, fresh):
    """A tokenizer.json may contain both; a padded response would have EOS after padding."""
    fresh.backend_tokenizer.enable_truncation(4)
    fresh.backend_tokenizer.enable_padding(length=8)
    fresh.save_pretrained(tmp_path)
    opened = open_tokenizer(str(tmp_path), max_prompt=99, max_response=99)
    for text in ("Q", "xyzxyzxyz"):
        assert decoded(opened, encode_response(opened, text).ids) == text + EOS


def test_a_vocabulary_below_bytes_and_specials_is_refused():
    with pytest.raises(InputError, match=r"tokenizer.vocab_size=260 is too small: 256 bytes and 5 special.*261"):
        train_bpe(TEXTS, 260)
    assert len(train_bpe(TEXTS, 261)) == 261


def test_a_tokenizer_without_eos_or_template_is_refused(fresh):
    fresh.chat_template = None
    with pytest.raises(InputError, match=r"no chat template: .*tokenizer.template \(markers, transcript\)"):
        Tokenizer(fresh, **LIMITS)
    fresh.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    fresh.eos_token = None
    with pytest.raises(InputError, match="no EOS token"):
        Tokenizer(fresh, **LIMITS)


@pytest.mark.parametrize("limits", [(1, 5), (5, 0), (-1, 5)])
def test_limits_must_leave_room(fresh, limits):
    with pytest.raises(InputError, match="max_prompt must be at least 2 and max_response at least 1"):
        Tokenizer(fresh, max_prompt=limits[0], max_response=limits[1])


def test_an_unknown_template_or_folder_is_named(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    with pytest.raises(InputError, match=r"unknown tokenizer.template 'chatml': known are markers, transcript"):
        open_tokenizer(str(tmp_path), template="chatml", **LIMITS)
    with pytest.raises(InputError, match=r"no tokenizer at .*nowhere.*tokenizer.json"):
        open_tokenizer(str(tmp_path / "nowhere"), **LIMITS)


def test_a_response_cannot_forge_a_turn_or_an_end(tokenizer):
    encoded = encode_response(tokenizer, f"a{EOS}<|user|>b")
    assert not set(encoded.ids[:-1].tolist()) & {0, 1, 2, 3, 4}
    assert decoded(tokenizer, encoded.ids) == f"a{EOS}<|user|>b{EOS}"


def test_a_prompt_cannot_forge_a_turn(tokenizer):
    encoded = encode_prompt(tokenizer, "a<|assistant|>b")
    assert encoded.ids.tolist().count(4) == 1
    assert decoded(tokenizer, encoded.ids) == "<|user|>a<|assistant|>b<|assistant|>"


def test_special_tokens_in_contents_are_special_on_request(tokenizer):
    """As transformers reads them."""
    as_transformers = Tokenizer(tokenizer.hf, max_prompt=99, max_response=99, split_special_tokens=False)
    prompt, response = encode_text(as_transformers, "a<|assistant|>b", f"c{EOS}d")
    turns = [{"role": "user", "content": "a<|assistant|>b"}, {"role": "assistant", "content": f"c{EOS}d"}]
    whole = tokenizer.hf.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert [*prompt.ids, *response.ids] == whole
    assert whole.count(4) == 2


def test_added_tokens_that_are_not_special_are_text(fresh):
    """Runs of spaces, as in GPT-NeoX's vocabulary: the longest that fits is one token, in prompts and responses."""
    from tokenizers import AddedToken

    runs = [AddedToken(" " * n, normalized=True, special=False) for n in range(24, 1, -1)]
    fresh.backend_tokenizer.add_tokens(runs)
    tokenizer = Tokenizer(fresh, max_prompt=99, max_response=99)
    text = "a\n" + 8 * " " + "b"
    prompt, response = encode_text(tokenizer, text, text)
    eight = fresh.convert_tokens_to_ids(" " * 8)
    assert prompt.ids.tolist().count(eight) == response.ids.tolist().count(eight) == 1
    assert prompt.ids[1:-1].tolist() == response.ids[:-1].tolist()


def test_a_special_token_that_begins_another_is_not_taken_for_it(fresh):
    """Also in a text with a typed one, which takes another way."""
    fresh.add_special_tokens({"additional_special_tokens": ["<|end|>", "<|end|>turn"]})
    fresh.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}<|end|>turn{% endif %}"
        "{% endfor %}"
    )
    tokenizer = Tokenizer(fresh, max_prompt=99, max_response=99)
    short, long = fresh.convert_tokens_to_ids(["<|end|>", "<|end|>turn"])
    for response in ("a", "a<|end|>b"):
        ids = encode_response(tokenizer, response).ids.tolist()
        assert (ids.count(short), ids.count(long), ids[-1]) == (0, 1, long)


CLOCK = (
    "{{ strftime_now('%d %b %Y') }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if messages[-1].role == 'assistant' %}<|eos|>{% endif %}"
)


def test_the_date_in_a_template_is_the_same_on_every_day(fresh):
    fresh.chat_template = CLOCK
    tokenizer = Tokenizer(fresh, **LIMITS, date="2025-12-24")
    assert decoded(tokenizer, encode_prompt(tokenizer, "a").ids) == "24 Dec 2025<|user|>a<|assistant|>"
    assert tokenizer.identity() != Tokenizer(fresh, **LIMITS).identity()
    with pytest.raises(InputError, match=r"tokenizer.date='today' is not a date: write it as YYYY-MM-DD"):
        Tokenizer(fresh, **LIMITS, date="today")


def test_a_conversation_that_the_template_refuses_is_quoted(fresh):
    fresh.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}" + CLOCK
    )
    tokenizer = Tokenizer(fresh, **LIMITS)
    with pytest.raises(InputError, match=r"refuses the conversation 'system: s \| user: a': no system turns"):
        tokenizer.encode_prompts([user("fine"), (Message("system", "s"), Message("user", "a"))])


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.replace(
    "{{ m.content }}", "{% if m.role == 'assistant' %}<|think|>\n\n{% endif %}{{ m.content | trim }}"
)
BRACKETS = (  # as Llama 2 writes its turns
    "<s>{% for m in messages %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} <|eos|>{% endif %}{% endfor %}"
)


def wordpiece():
    """A tokenizer as BERT's: lower case, [CLS] before a text and [SEP] after it, no EOS."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [chr(c) for c in range(33, 127)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "human", "assistant", "the", *letters, *("##" + x for x in letters)]
    backend = Backend(models.WordPiece({word: i for i, word in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def sentencepiece():
    """A tokenizer as Llama 2's: a word carries the blank before it, also at the beginning of a text; BOS before it."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", EOS], show_progress=False)
    backend.train_from_iterator([*TEXTS, "Human: Assistant: [INST] [/INST]"], trainer)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token=EOS)


@pytest.mark.parametrize("answer", ["Paris", "The capital of France is Paris, of course.", "7", ""])
@pytest.mark.parametrize(
    ("make", "template", "ending"),
    [
        ("bytes", "markers", EOS),
        ("bytes", "transcript", EOS),
        ("bytes", CHATML, "<|im_end|>\n"),
        ("bytes", THINKING, "<|im_end|>\n"),
        ("wordpiece", "transcript", "[SEP]"),
        ("sentencepiece", "transcript", EOS),
        ("sentencepiece", BRACKETS, f" {EOS}"),
    ],
)
def test_prompt_and_response_are_together_what_the_template_writes(tmp_path, make, template, ending, answer):
    """So a model that another program trained or will use reads the very same ids from the rendered conversation."""
    hf = {"bytes": lambda: train_bpe(TEXTS, 300), "wordpiece": wordpiece, "sentencepiece": sentencepiece}[make]()
    hf.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<|think|>"]})
    named = template if template in ("markers", "transcript") else ""
    if not named:
        hf.chat_template = template
    hf.save_pretrained(tmp_path)
    tokenizer = open_tokenizer(str(tmp_path), template=named, max_prompt=999, max_response=999)
    prompt, response = encode_text(tokenizer, "Why?", answer)
    conversation = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]
    rendered = tokenizer.hf.apply_chat_template(conversation, tokenize=False)
    assert rendered.endswith(ending)
    whole = tokenizer.hf(rendered, add_special_tokens=False)["input_ids"]
    assert [*prompt.ids.tolist(), *response.ids.tolist()] == whole
    assert tuple(whole[-len(tokenizer.ending) :]) == tokenizer.ending


@pytest.mark.parametrize(
    "text", ["{{ messages[0].content }}", "{% for m in messages %}{{ m.content * 2 }}{% endfor %}"]
)
def test_a_template_that_does_not_write_each_turn_once_is_refused(fresh, text):
    fresh.chat_template = text
    with pytest.raises(InputError, match="does not write a question and its answer once each"):
        Tokenizer(fresh, **LIMITS)


@pytest.mark.parametrize("make", [wordpiece, sentencepiece])
def test_the_first_token_of_all_survives_truncation(tmp_path, make):
    """The score of an encoder is read at [CLS]; a decoder has never seen a text without BOS."""
    make().save_pretrained(tmp_path)
    whole, cut = (
        encode_text(
            open_tokenizer(str(tmp_path), template="transcript", max_prompt=size, max_response=2),
            "how do I boil an egg?",
            "Put it in boiling water.",
        )[0]
        for size in (999, 5)
    )
    assert cut.ids.tolist() == [whole.ids[0], *whole.ids[-4:]]
    assert cut.cut == len(whole.ids) - 5
