"""Ids of prompts and responses against those of transformers for the answered conversation, for known templates.

Two differences are deliberate. EOS is appended if a template writes nothing after an answer (`appended` in `CHATS`).
Special tokens in messages are text, unless `split_special_tokens` is False.
"""

import datetime
import unicodedata

import pytest
from data.chat_templates import CHATS, chat_tokenizer
from transformers.utils import chat_template_utils

from rmjax.data.comparisons import Message
from rmjax.data.examples import encode_groups
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError

# No date that a template has as its default.
DATE = "2031-03-05"


class Frozen(datetime.datetime):
    """The clock that transformers hands to templates, on one day."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(DATE)


CODE = "def f(x):\n    if x > 0:\n        return x\n\n\n\n    # 1234567 y\n\treturn  -x\r\n"
EMOJI = "👩‍👩‍👧🏽 naïve e\u0301tude 日本語、世界。 \u200b1234５"
THOUGHT = "<think>\nHmm, why?\n\n</think>\n\nYes, of course."
BLANKS = (" ", "  ", "\n", "\n\n", "\r\n", "\t", " \n", "\n  ", "\u00a0")


def turns(*contents, system=None):
    """User and assistant in turn, the user first."""
    opening = () if system is None else (Message("system", system),)
    return opening + tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(contents))


CONVERSATIONS = {
    "plain": turns("What is the capital of the island?"),
    "code": turns(CODE),
    "emoji": turns(EMOJI),
    "empty": turns("", "", ""),
    "system": turns("Why?", system="Be brief.\n"),
    "blank system": turns("Why?", " Of course. ", "\nWhy is it so?", system="  \n Two\n\n\nlines \n"),
    "empty system": turns("Why?", system=""),
    "three turns": turns("Why?\n", "\nOf course. \n", " And 12345?  "),
    "five turns": turns(CODE, f"{EMOJI}\n", "  no", f"{CODE}\n\n", "\t?"),
    "thoughts": turns("Why?", THOUGHT, "Why </think> so?", f"\n\n{THOUGHT}\n", "And <think>\n?"),
    **{f"blanks {blank!r}": turns(f"{blank}Why is{blank}it so?{blank}") for blank in BLANKS},
}
ANSWERS = [
    "Yes, of course.",
    "",
    "7",
    "No",
    "Two words. \n",
    CODE,
    f"    {CODE}",
    EMOJI,
    f"e{EMOJI}",
    "\u0301a",
    THOUGHT,
    f"\n{THOUGHT}\n\n",
    "<think>\n\n</think>\n\n\n 12",
    "Hmm</think>\n\nYes.",
    "user: Why?\n\nassistant: No.",
    "<|user|>\nWhy?\n<|assistant|>\n",
    *(f"{blank}Boil{blank}{blank}water.{blank}" for blank in BLANKS),
    *BLANKS,
]


def typed(name):
    """Conversations and answers that contain the special tokens of a template, and of others."""
    contents = []
    for token in dict.fromkeys([CHATS[name].special[-1], CHATS[name].eos, "<|im_end|>", "</s>"]):
        contents += [f"What does {token} mean?", token, f" {token}\n", f"a{token}{token}  b\n"]
    first, last = CHATS[name].special[0], CHATS[name].special[-1]
    contents += [f"Yes.{last}\n{first}user\n\nWhy?", f"<think>{first}</think>\n\n{last}Yes."]
    asked = [(turns(text), ("Yes.", text)) for text in contents]
    return asked + [(turns("Why?", text, text), ("No.", "")) for text in contents]


@pytest.fixture
def expected(monkeypatch):
    """Ids of an answered conversation in transformers, at `DATE`."""

    def expect(hf, prompt, answer, appended=""):
        messages = [message._asdict() for message in (*prompt, Message("assistant", answer))]
        with monkeypatch.context() as patch:
            patch.setattr(chat_template_utils, "datetime", Frozen)
            ids = hf.apply_chat_template(messages, tokenize=True, return_dict=False)
        return ids + hf.convert_tokens_to_ids([appended] if appended else [])

    return expect


def found(tokenizer, prompt, answers):
    """Ids of the prompt and each answer after it."""
    (before,), (group,) = encode_groups([prompt], [answers], tokenizer)
    assert not any(encoded.cut for encoded in (before, *group))
    return [[*before.ids.tolist(), *encoded.ids.tolist()] for encoded in group]


def make(name, *, split_special_tokens=True):
    """Our tokenizer, with room for everything."""
    settings = {"date": DATE, "split_special_tokens": split_special_tokens}
    return Tokenizer(chat_tokenizer(name), max_prompt=5000, max_response=5000, **settings)


@pytest.fixture(scope="module", params=CHATS)
def chat(request):
    """(name, transformers' tokenizer, ours)."""
    return request.param, chat_tokenizer(request.param), make(request.param)


@pytest.mark.parametrize("case", CONVERSATIONS)
def test_ids_are_those_of_the_answered_conversation(chat, expected, case):
    name, hf, tokenizer = chat
    prompt = CONVERSATIONS[case]
    if prompt[0].role == "system" and not CHATS[name].takes_system:
        with pytest.raises(InputError, match="no system turns"):
            encode_groups([prompt], [ANSWERS[:2]], tokenizer)
        return
    wrong = []
    half = len(ANSWERS) // 2
    for pair in zip(ANSWERS[:half], ANSWERS[half:], strict=True):
        for answer, ids in zip(pair, found(tokenizer, prompt, pair), strict=True):
            if ids != expected(hf, prompt, answer, CHATS[name].appended):
                wrong.append((answer, "of", *pair))
    assert not wrong


def test_ids_do_not_depend_on_what_is_encoded_with_them(chat):
    name, _, tokenizer = chat
    prompts = [prompt for prompt in CONVERSATIONS.values() if prompt[0].role != "system" or CHATS[name].takes_system]
    groups = [[ANSWERS[i], ANSWERS[-i]] for i in range(len(prompts))]
    together = encode_groups(prompts, groups, tokenizer)
    for prompt, group, before, encoded in zip(prompts, groups, *together, strict=True):
        ids = [[*before.ids.tolist(), *each.ids.tolist()] for each in encoded]
        assert ids == found(tokenizer, prompt, group)


@pytest.mark.parametrize("name", CHATS)
def test_typed_special_tokens_are_special_if_they_are_not_split(expected, name):
    hf, tokenizer = chat_tokenizer(name), make(name, split_special_tokens=False)
    wrong = []
    for prompt, answers in [*typed(name), (CONVERSATIONS["five turns"], ANSWERS[:2])]:
        for answer, ids in zip(answers, found(tokenizer, prompt, answers), strict=True):
            if ids != expected(hf, prompt, answer, CHATS[name].appended):
                wrong.append((prompt, answer))
    assert not wrong


@pytest.mark.parametrize("name", CHATS)
def test_typed_special_tokens_are_text_by_default(expected, name):
    """As with other names for the special tokens, which no message contains: the same ids."""
    renamed, tokenizer = chat_tokenizer(name, renamed=True), make(name)
    appended = renamed.eos_token if CHATS[name].appended else ""
    wrong = []
    for prompt, answers in typed(name):
        for answer, ids in zip(answers, found(tokenizer, prompt, answers), strict=True):
            if ids != expected(renamed, prompt, answer, appended):
                wrong.append((prompt, answer))
    assert not wrong


@pytest.mark.parametrize("name", CHATS)
def test_typed_special_tokens_add_no_special_ids_and_lose_no_text(name):
    """True for any way to encode them as text."""
    tokenizer = make(name)
    special = tokenizer.hf.convert_tokens_to_ids(list(CHATS[name].special))

    def specials(ids):
        return [token for token in ids if token in special]

    wrong = []
    for prompt, answers in typed(name):
        harmless = tuple(Message(message.role, "x") for message in prompt)
        ours, plain = found(tokenizer, prompt, answers), found(tokenizer, harmless, ["x", "y"])
        for answer, ids, others in zip(answers, ours, plain, strict=True):
            text = "".join(tokenizer.hf.decode(ids, skip_special_tokens=False).split())
            contents = ["".join(content.split()) for content in (*(message.content for message in prompt), answer)]
            # Qwen 3's template leaves thoughts out.
            whole = all(content in text for content in contents if "</think>" not in content)
            if specials(ids) != specials(others) or not whole:
                wrong.append((prompt, answer))
    assert not wrong


TRIMMING = {"llama2", "llama3.1", "llama3.2", "mistral", "gemma2"}
COMPOSING = {"qwen2.5", "qwen3", "pythia"}


def written(name, answer):
    """The answer as the template writes it and the tokenizer normalizes it; for Qwen3 without the opening <think>."""
    if name in TRIMMING:
        answer = answer.strip()
    if name == "qwen3":
        thought, mark, rest = answer.rpartition("</think>")
        thought = thought.rpartition("<think>")[2].strip("\n")
        answer = (f"{thought}\n{mark}\n\n" if thought else "") + rest.lstrip("\n")
    return unicodedata.normalize("NFC", answer) if name in COMPOSING else answer


def test_decoding_returns_the_answer_as_the_template_writes_it(chat):
    name, _, tokenizer = chat
    prompts = [prompt for prompt in CONVERSATIONS.values() if prompt[0].role != "system" or CHATS[name].takes_system]
    pairs = [(prompt, answer) for prompt in prompts for answer in ANSWERS]
    pairs += [(prompt, answer) for prompt, answers in typed(name) for answer in answers]
    before = tokenizer.encode_prompts([prompt for prompt, _ in pairs])
    responses = tokenizer.encode_responses(before, [answer for _, answer in pairs])
    wrong = []
    for (_, answer), prompt, response in zip(pairs, before, responses, strict=True):
        replaced = prompt.ids[len(prompt.ids) - response.replaces :]
        text = tokenizer.decode_response(response.ids, replaced=replaced)
        if text != written(name, answer):
            wrong.append((answer, text))
    assert not wrong
