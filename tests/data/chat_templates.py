"""Chat templates and tokenizers that behave as those of published models, for tests of token ids.

Each template is written anew. It does what the official one does wherever that changes ids: BOS, trimming, default
system prompts, dates, what follows an answer. Each tokenizer is of the official one's kind, with a small vocabulary.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

ALTERNATE = (
    "{% for turn in turns %}{% if (turn.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}{% endfor %}"
)
# Sets `note` to the system turn's content and `turns` to the others.
PART = (
    "{% set turns = messages %}{% set note = none %}"
    "{% if messages[0].role == 'system' %}{% set note = messages[0].content %}{% set turns = messages[1:] %}{% endif %}"
)
# The system turn moves into the first user turn; every pair of turns has a BOS.
LLAMA_2 = (
    f"{PART}{ALTERNATE}{{% for turn in turns %}}{{% if turn.role == 'user' %}}"
    "{% set before = '<<SYS>>\n' + note + '\n<</SYS>>\n\n' if loop.first and note is not none else '' %}"
    "{{ bos_token }}[INST] {{ (before + turn.content) | trim }} [/INST]"
    "{% else %} {{ turn.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)


def _llama_3(date: str) -> str:
    """A system turn in every conversation, with a date; contents are trimmed."""
    return (
        f"{PART}{{{{ bos_token }}}}<|start_header_id|>system<|end_header_id|>\n\n"
        f"Knowledge ends: December 2023\nDate: {date}\n\n{{{{ (note or '') | trim }}}}<|eot_id|>"
        "{% for turn in turns %}<|start_header_id|>{{ turn.role }}<|end_header_id|>\n\n"
        "{{ turn.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
    )


# The system turn moves into the last turn if that is a user's. So it is lost if the conversation has an answer.
MISTRAL = (
    f"{PART}{ALTERNATE}{{{{ bos_token }}}}{{% for turn in turns %}}{{% if turn.role == 'user' %}}"
    "[INST] {% if loop.last and note is not none %}{{ note }}\n\n{% endif %}{{ turn.content }}[/INST]"
    "{% else %} {{ turn.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_SMALL = (
    "{% set today = strftime_now('%Y-%m-%d') %}"
    "{% set yesterday = strftime_now('%Y-%m-') + '%02d' | format(strftime_now('%d') | int - 1) %}"
    f"{PART}{ALTERNATE}{{{{ bos_token }}}}[SYSTEM_PROMPT]"
    "{{ note if note is not none else 'Be brief. It is ' + today + ', and yesterday was ' + yesterday + '.\n' }}"
    "[/SYSTEM_PROMPT]{% for turn in turns %}{% if turn.role == 'user' %}[INST]{{ turn.content }}[/INST]"
    "{% else %}{{ turn.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


def _chatml(default: str) -> str:
    """Contents as they are; a default system turn."""
    return (
        f"{{% if messages[0].role != 'system' %}}<|im_start|>system\n{default}<|im_end|>\n{{% endif %}}"
        "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


# Thoughts are kept in the last answer alone, which has a block of them even when it has none. The prompt is opened
# without it.
QWEN_3 = (
    "{% set seen = namespace(user=messages | length - 1) %}"
    "{% for turn in messages %}{% if turn.role == 'user' %}{% set seen.user = loop.index0 %}{% endif %}{% endfor %}"
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{% set text = turn.content %}"
    "{% if turn.role == 'assistant' %}{% set thought = '' %}{% if '</think>' in text %}"
    "{% set thought = (text.split('</think>') | first).rstrip('\n').split('<think>') | last %}"
    "{% set text = (text.split('</think>') | last).lstrip('\n') %}{% endif %}"
    "{% if loop.index0 > seen.user %}<think>\n{{ thought.strip('\n') }}\n</think>\n\n"
    "{% set text = text.lstrip('\n') %}{% endif %}{% endif %}{{ text }}<|im_end|>{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_2 = (
    f"{PART}{{% if note is not none %}}{{{{ raise_exception('no system turns') }}}}{{% endif %}}{ALTERNATE}"
    "{{ bos_token }}{% for turn in turns %}<start_of_turn>{{ 'model' if turn.role == 'assistant' else turn.role }}\n"
    "{{ turn.content | trim }}<end_of_turn>{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# The markers are plain text. A line break ends every turn but an answer at the end.
TULU_3 = (
    "{{ bos_token }}{% for turn in messages %}<|{{ turn.role }}|>\n{{ turn.content }}"
    "{% if turn.role == 'assistant' %}{{ eos_token }}{{ '' if loop.last else '\n' }}{% else %}{{ '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ZEPHYR = (
    "{% for turn in messages %}<|{{ turn.role }}|>\n{{ turn.content }}{{ eos_token }}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ '\n' }}{% endif %}"
)
# Writes nothing after an answer.
BARE = (
    "{% for turn in messages %}{{ '\n\n' }}{{ turn.role }}: {{ turn.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\n' }}assistant: {% endif %}"
)

# What the tokenizers learn from.
WORDS = """The keeper of the lighthouse wrote down what the weather was, how many ships had passed, and whether the lamp
had been lit before 18:45. Nobody asked him to, but he'd done it since 1912; it's what one does, they'd say.
def total(values):
    result = 0
    for value in values:
        if value > 0:
            result += value
    return result

What is the capital of the island, and why is it so? The answer to 7 is 8, of course.  Two blanks; a tab:\tand so on.
user assistant system human model: I will not help with that. 1. Boil water. 2. Wait 10 minutes.
3. 你好，世界。 日本語 naïve café
thinking... Hmm, they asked about 2,345 eggs (or 12345)!? <|user|> <|assistant|> <|system|> [INST] Yes. No. Of course.
"""
WORDS += "".join(
    f"user:{blanks}.{blanks}|>{blanks}" * 3 for blanks in ("\n", "\n\n", "\n\n\n", " \n", "  \n\n", "\r\n")
)

LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _byte_level(split: Sequence[object], *, normalizer: object = None, ignore_merges: bool = False) -> Backend:
    """A byte-level BPE whose words are those of `split`, a list of pre-tokenizers."""
    backend = Backend(models.BPE(ignore_merges=ignore_merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(list(split))
    backend.decoder = decoders.ByteLevel()
    if normalizer:
        backend.normalizer = normalizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([WORDS], trainer)
    return backend


def _by_regex(digits: str) -> list[object]:
    pattern = Regex(rf"{LETTERS}|\p{{N}}{digits}|{OTHERS}")
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return [pre_tokenizers.Split(pattern, "isolated"), bytes_alone]


def _gpt2_words() -> object:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _sentencepiece(special: Sequence[str]) -> Backend:
    """A BPE over "▁" instead of blanks, with bytes for what it does not know. Where the blanks go is set by others."""
    learner = Backend(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator([WORDS], trainers.BpeTrainer(vocab_size=500, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    merges = dict.fromkeys([*map(tuple, learned["merges"]), ("▁", "▁")])
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"], "▁▁"]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    backend = Backend(models.BPE(vocab, list(merges), byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return backend


def llama_2_kind() -> Backend:
    """A blank before every text, and before what follows a special token."""
    backend = _sentencepiece(["<unk>", "<s>", "</s>"])
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return backend


def mistral_kind() -> Backend:
    """A blank before the first word of all."""
    backend = _sentencepiece(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return backend


def gemma_kind() -> Backend:
    """No blank before a text; runs of line breaks and of blanks are tokens that are not special."""
    backend = _sentencepiece(["<unk>", "<bos>", "<eos>", "<pad>"])
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    runs = [character * length for character in "\n▁" for length in range(2, 32)]
    backend.add_tokens([AddedToken(run, normalized=False) for run in runs])
    return backend


def llama_3_kind() -> Backend:
    """Digits by three; line breaks with the blanks before them."""
    return _byte_level(_by_regex("{1,3}"), ignore_merges=True)


def tekken_kind() -> Backend:
    """Single digits."""
    return _byte_level(_by_regex(""), ignore_merges=True)


def qwen_kind() -> Backend:
    """Single digits; characters are composed first."""
    return _byte_level(_by_regex(""), normalizer=normalizers.NFC())


def qwen_3_kind() -> Backend:
    """As Qwen 2.5's, with the marks of thoughts as tokens that are not special."""
    backend = qwen_kind()
    backend.add_tokens([AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    return backend


def smollm_kind() -> Backend:
    """GPT-2's words, with single digits."""
    return _byte_level([pre_tokenizers.Digits(individual_digits=True), _gpt2_words()])


def neox_kind() -> Backend:
    """GPT-2's words, with runs of blanks as tokens that are not special."""
    backend = _byte_level([_gpt2_words()], normalizer=normalizers.NFC())
    backend.add_tokens([AddedToken(" " * length, normalized=True) for length in range(24, 1, -1)])
    return backend


class Chat(NamedTuple):
    """A template, its kind of tokenizer, and the special tokens, the last of which ends a turn.

    `appended` is what rmjax adds to an answered conversation by design: EOS, if the template writes nothing.
    """

    template: str
    kind: object
    bos: str | None
    eos: str
    special: tuple[str, ...]
    takes_system: bool = True
    appended: str = ""


HEADERS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TURNS = ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>")
S = ("<s>", "</s>")
INST = ("[INST]", "[/INST]")

CHATS = {
    "llama2": Chat(LLAMA_2, llama_2_kind, *S, S),
    "llama3.1": Chat(_llama_3("26 Jul 2024"), llama_3_kind, HEADERS[0], "<|eot_id|>", HEADERS),
    "llama3.2": Chat(_llama_3("{{ strftime_now('%d %b %Y') }}"), llama_3_kind, HEADERS[0], "<|eot_id|>", HEADERS),
    "mistral": Chat(MISTRAL, mistral_kind, *S, (*INST, *S)),
    "mistral-small-3": Chat(MISTRAL_SMALL, tekken_kind, *S, (*INST, "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", *S)),
    "qwen2.5": Chat(_chatml("You are helpful."), qwen_kind, None, "<|im_end|>", IM),
    "qwen3": Chat(QWEN_3, qwen_3_kind, None, "<|im_end|>", IM),
    "gemma2": Chat(GEMMA_2, gemma_kind, "<bos>", "<eos>", TURNS, takes_system=False),
    "tulu3": Chat(TULU_3, llama_3_kind, *HEADERS[:2], HEADERS[:2]),
    "zephyr": Chat(ZEPHYR, llama_2_kind, *S, S),
    "smollm2": Chat(_chatml("You are small and helpful."), smollm_kind, "<|im_start|>", "<|im_end|>", IM),
    "pythia": Chat(TULU_3, neox_kind, "<|endoftext|>", "<|endoftext|>", ("<|endoftext|>",)),
    "bare": Chat(BARE, llama_3_kind, None, "<|end_of_text|>", HEADERS[1:2], appended="<|end_of_text|>"),
}


@functools.cache
def _trained(name: str, renamed: bool) -> tuple[str, dict[str, str]]:
    """The tokenizer.json of a chat, and its special tokens -> how they are spelled in it."""
    chat = CHATS[name]
    spelled = {token: chr(0xE100 + i) if renamed else token for i, token in enumerate(chat.special)}
    text = chat.kind().to_str()
    if renamed:
        record = json.loads(text)
        vocab = record["model"]["vocab"]
        record["model"]["vocab"] = {spelled.get(token, token): i for token, i in vocab.items()}
        text = json.dumps(record)
    backend = Backend.from_str(text)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in spelled.values()])
    return backend.to_str(), spelled


def chat_tokenizer(name: str, *, renamed: bool = False) -> PreTrainedTokenizerFast:
    """A new transformers tokenizer of that chat.

    Where it is `renamed`, its special tokens have the same ids and other spellings, which nobody types. What reads like
    a special token is text there.
    """
    text, spelled = _trained(name, renamed)
    chat = CHATS[name]
    named = {"bos_token": spelled.get(chat.bos), "eos_token": spelled[chat.eos]}
    hf = PreTrainedTokenizerFast(
        tokenizer_object=Backend.from_str(text), **{key: token for key, token in named.items() if token}
    )
    hf.chat_template = chat.template
    for token, other in spelled.items():
        hf.chat_template = hf.chat_template.replace(token, other)
    return hf
