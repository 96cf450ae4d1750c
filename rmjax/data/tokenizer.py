"""Text -> token ids: the one place where chat template, EOS and truncation are decided."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmjax.data.comparisons import Message, Prompt
from rmjax.errors import InputError

PAD, EOS = "<|pad|>", "<|eos|>"
ROLE_MARKERS = ("<|system|>", "<|user|>", "<|assistant|>")

# Jinja templates by name, for tokenizers that bring none. `markers` is the one our own BPE carries. OPENING stands for
# what the tokenizer puts before a text of its own accord (BOS or CLS, if anything) and ENDING for its EOS (or SEP).
TEMPLATES = {
    "markers": (
        "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>"
        "{% elif messages[-1].role == 'assistant' %}ENDING{% endif %}"
    ),
    "transcript": (
        "OPENING{% for message in messages %}"
        "{{ {'user': '\n\nHuman: ', 'assistant': '\n\nAssistant: ', 'system': ''}[message.role] }}{{ message.content }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '\n\nAssistant:' }}"
        "{% elif messages[-1].role == 'assistant' %}ENDING{% endif %}"
    ),
}

# A private character that templates pass through: what they write around it is theirs.
PROBE = "\ue000"


class Encoded(NamedTuple):
    """Token ids `[T] int32` after truncation, and how many tokens that cut off."""

    ids: np.ndarray
    cut: int


class Tokenizer:
    """Turns prompts and responses into ids, each on its own.

    A prompt and a response never see each other here, so the ids of a text do not depend on what it is compared with:
    the prompt is rendered by the chat template up to where the assistant speaks and keeps its last `max_prompt` tokens
    (a BOS or CLS at its beginning stays); the response keeps its first `max_response` tokens. What the template writes
    behind an answer always follows, or EOS where it writes nothing: the `ending`. The ids of padding never matter:
    scores are read where the packing says, not where some id is found.

    Args:
        tokenizer: a `transformers` fast tokenizer with a chat template.
        max_prompt: tokens kept of a prompt, at its end.
        max_response: tokens kept of a response, at its beginning, the ending not counted.
        pad_id: an id that the model overlooks at the end of a text, as Hugging Face's classifiers do with padding; the
            ending goes without it. None for no such id.

    Raises:
        InputError: there is nothing to end a response with, the chat template is missing or writes an answer otherwise
            than it opens one, or a limit is not positive.
    """

    def __init__(self, tokenizer: object, *, max_prompt: int, max_response: int, pad_id: int | None = None) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                "the tokenizer has no chat template: name one with tokenizer.template "
                f"({', '.join(TEMPLATES)}), or add it to its tokenizer_config.json"
            )
        if max_prompt < 2 or max_response < 1:
            raise InputError(
                f"max_prompt must be at least 2 and max_response at least 1, found {max_prompt} and {max_response}"
            )
        # A tokenizer.json may fix both for whoever wrote it; here lengths are decided by this class and the packing.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self.hf = tokenizer
        self.max_prompt = max_prompt
        self.max_response = max_response
        self.vocab_size = len(tokenizer)
        special = sorted(map(re.escape, tokenizer.all_special_tokens + list(tokenizer.get_added_vocab())))
        self._special = re.compile("|".join(special) or "(?!)")
        self._openers = {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
        self._learn_the_form_of_an_answer(pad_id)

    def _learn_the_form_of_an_answer(self, pad_id: int | None) -> None:
        """What the template writes before and behind an answer, from one that it renders with marked contents."""
        question, answer = Message("user", PROBE), Message("assistant", PROBE)
        opened = self._render([question])
        answered = self._render([question, answer], open_answer=False)
        if not answered.startswith(opened) or answered.count(PROBE) != 2:
            raise InputError(
                "the tokenizer's chat template writes an answer otherwise than it opens one, so that a prompt and its "
                f"answer cannot be told apart: name another with tokenizer.template ({', '.join(TEMPLATES)})"
            )
        generation, lead = opened.rpartition(PROBE)[2], answered[len(opened) :].partition(PROBE)[0]
        # Special tokens before an answer are ids of their own. Text before it is context: "Hello" behind "Assistant: "
        # is another token than at the beginning of a text.
        markers = self._after_last_special(lead)
        self._lead_ids = self._ids([lead[:markers]])[0]
        self._context = "" if markers else generation[self._after_last_special(generation) :]
        self._lead = lead[markers:]
        tail = answered.rpartition(PROBE)[2]
        self.ending = tuple(self._continue("a", [tail], typed=False)[0].tolist())
        if not tail.strip():
            self.ending = (self._eos_id(),)
        while self.ending and self.ending[-1] == pad_id:
            self.ending = self.ending[:-1]

    def _after_last_special(self, text: str) -> int:
        return max((found.end() for found in self._special.finditer(text)), default=0)

    def _eos_id(self) -> int:
        token = self.hf.eos_token_id if self.hf.eos_token_id is not None else self.hf.sep_token_id
        if token is None:
            raise InputError("the tokenizer has no EOS token: set eos_token in its tokenizer_config.json")
        return int(token)

    @property
    def max_length(self) -> int:
        """The longest prompt and response together, ending included."""
        return self.max_prompt + len(self._lead_ids) + self.max_response + len(self.ending)

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Ids of every prompt, rendered with the marker after which the assistant speaks."""
        ids = self._ids(self._render_all(prompts))
        for i, prompt in enumerate(prompts):
            if any(self._special.search(message.content) for message in prompt):
                ids[i] = self._ids_with_typed_markers(prompt)
        return [self._truncated(each) for each in ids]

    def _truncated(self, ids: np.ndarray) -> Encoded:
        cut = max(0, len(ids) - self.max_prompt)
        opener = ids[:1] if cut and int(ids[0]) in self._openers else ids[:0]
        return Encoded(np.concatenate([opener, ids[cut + len(opener) :]]), cut)

    def encode_responses(self, responses: Sequence[str]) -> list[Encoded]:
        """Ids of every response, the ending last."""
        ending = np.array(self.ending, np.int32)
        if not self.ending and not all(responses):
            raise InputError("an empty response has no token to be scored at: this model's texts end without EOS")
        distinct = list(dict.fromkeys(responses))  # short answers come again and again
        encoded = {
            text: Encoded(
                np.concatenate([self._lead_ids, ids[: self.max_response], ending]), max(0, len(ids) - self.max_response)
            )
            for text, ids in zip(
                distinct,
                self._continue(self._context, [self._lead + text for text in distinct], typed=True),
                strict=True,
            )
        }
        return [encoded[text] for text in responses]

    def _continue(self, context: str, texts: Sequence[str], *, typed: bool) -> list[np.ndarray]:
        """Ids of every text as it reads behind `context`, or by itself where the two would melt into one token."""
        if not context:
            return self._ids(texts, typed=typed)
        (before,) = self._ids([context], typed=typed)
        whole = self._ids([context + text for text in texts], typed=typed)
        firm = [np.array_equal(ids[: len(before)], before) for ids in whole]
        return [
            ids[len(before) :] if ok else self._ids([text], typed=typed)[0]
            for ids, text, ok in zip(whole, texts, firm, strict=True)
        ]

    def _render_all(self, prompts: Sequence[Prompt]) -> list[str]:
        if not prompts:
            return []  # which the template would take for one conversation
        messages = [[message._asdict() for message in prompt] for prompt in prompts]
        return self.hf.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _render(self, turns: Sequence[Message], *, open_answer: bool = True) -> str:
        messages = [message._asdict() for message in turns]
        return self.hf.apply_chat_template(messages, tokenize=False, add_generation_prompt=open_answer)

    def _ids(self, texts: Sequence[str], *, typed: bool = False) -> list[np.ndarray]:
        """Ids of every text. In a `typed` one, what reads like a special token is text as any other."""
        backend = self.hf.backend_tokenizer
        backend.encode_special_tokens = typed
        # The template has already written every special token, so none is added; the backend encodes in parallel.
        return [np.array(e.ids, np.int32) for e in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _ids_with_typed_markers(self, prompt: Prompt) -> np.ndarray:
        """Ids of a prompt in whose messages somebody typed a special token: only the template's own are special."""
        hidden = [
            Message(m.role, self._special.sub(lambda found: f"\ue000{found[0]}\ue001", m.content)) for m in prompt
        ]
        # After rendering, the odd parts between these two private characters are what was typed.
        parts = re.split("\ue000(.*?)\ue001", self._render(hidden), flags=re.DOTALL)
        return np.concatenate([self._ids([part], typed=i % 2 == 1)[0] for i, part in enumerate(parts)])

    def identity(self) -> str:
        """All that ids depend on besides the text: tokenizers of one identity give the same."""
        settings = [self.max_prompt, self.max_response, self.ending, self.hf.special_tokens_map, self.hf.chat_template]
        # A template may write the date into every prompt: what it makes of one today is part of it.
        today = self._render([Message("user", PROBE)])
        return json.dumps([*settings, today, self.hf.backend_tokenizer.to_str()], default=str)

    def save(self, directory: Path) -> None:
        """Writes the files that `AutoTokenizer` opens, chat template included."""
        self.hf.save_pretrained(directory)


def train_bpe(texts: Iterable[str], vocab_size: int) -> object:
    """A byte-level BPE (Sennrich et al. 2016) of at most `vocab_size` ids, as a transformers fast tokenizer.

    Every byte is in its alphabet, so no text is unknown to it. Padding and EOS are different ids.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    special = [PAD, EOS, *ROLE_MARKERS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(alphabet) + len(special):
        raise InputError(
            f"tokenizer.vocab_size={vocab_size} is too small: {len(alphabet)} bytes and {len(special)} special tokens "
            f"need at least {len(alphabet) + len(special)}"
        )
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return as_fast_tokenizer(backend.to_str())


def as_fast_tokenizer(bpe: str) -> object:
    """The transformers fast tokenizer of a BPE of ours, given as the text of its tokenizer.json."""
    from tokenizers import Tokenizer as Backend

    _quiet_transformers()
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Backend.from_str(bpe), pad_token=PAD, eos_token=EOS)
    tokenizer.chat_template = _template("markers", tokenizer)
    return tokenizer


def open_tokenizer(
    path: str, *, template: str = "", max_prompt: int, max_response: int, pad_id: int | None = None
) -> Tokenizer:
    """A tokenizer from a local folder or a hub id.

    Args:
        path: what `AutoTokenizer.from_pretrained` takes; code from the hub is never run.
        template: a name in `TEMPLATES` that replaces the tokenizer's own chat template; empty keeps its own.
        max_prompt: see `Tokenizer`.
        max_response: see `Tokenizer`.
        pad_id: see `Tokenizer`.

    Raises:
        InputError: it cannot be opened, or `template` is unknown.
    """
    _quiet_transformers()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, use_fast=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"no tokenizer at {path!r} ({reason}): give a folder that holds tokenizer.json and tokenizer_config.json, "
            "or a hub id while the network is reachable"
        ) from None
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer at {path!r} has no tokenizer.json: save it as a fast tokenizer first")
    if template:
        tokenizer.chat_template = _template(template, tokenizer)
    return Tokenizer(tokenizer, max_prompt=max_prompt, max_response=max_response, pad_id=pad_id)


def _template(name: str, tokenizer: object) -> str:
    """The template of that name with the tokenizer's own opening and ending written into it."""
    if name not in TEMPLATES:
        raise InputError(f"unknown tokenizer.template {name!r}: known are {', '.join(TEMPLATES)}")
    encoding = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True)
    first_of_text = encoding.special_tokens_mask.index(0)
    opening = "".join(encoding.tokens[:first_of_text])
    return (
        TEMPLATES[name].replace("OPENING", opening).replace("ENDING", tokenizer.eos_token or tokenizer.sep_token or "")
    )


def _quiet_transformers() -> None:
    # It advises to install PyTorch, which only its models would need.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
