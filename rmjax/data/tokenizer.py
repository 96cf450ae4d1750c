"""Text -> token ids: the one place where chat template, EOS and truncation are decided."""

from __future__ import annotations

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

# Jinja templates by name, for tokenizers that bring none. `markers` is the one our own BPE carries.
TEMPLATES = {
    "markers": (
        "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "transcript": (
        "{% for message in messages %}"
        "{{ {'user': '\n\nHuman: ', 'assistant': '\n\nAssistant: ', 'system': ''}[message.role] }}{{ message.content }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
    ),
}


class Encoded(NamedTuple):
    """Token ids `[T] int32` after truncation, and how many tokens that cut off."""

    ids: np.ndarray
    cut: int


class Tokenizer:
    """Turns prompts and responses into ids, each on its own.

    A prompt and a response never see each other here, so the ids of a text do not depend on what it is compared with:
    the prompt is rendered by the chat template up to where the assistant speaks and keeps its last `max_prompt` tokens;
    the response keeps its first `max_response` tokens, and EOS always follows. The ids of padding never matter: scores
    are read where the packing says, not where some id is found.

    Args:
        tokenizer: a `transformers` fast tokenizer with a chat template and an EOS token.
        max_prompt: tokens kept of a prompt, at its end.
        max_response: tokens kept of a response, at its beginning, EOS not counted.

    Raises:
        InputError: the tokenizer has no EOS or no chat template, or a limit is not positive.
    """

    def __init__(self, tokenizer: object, *, max_prompt: int, max_response: int) -> None:
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer has no EOS token: set eos_token in its tokenizer_config.json")
        if not tokenizer.chat_template:
            raise InputError(
                "the tokenizer has no chat template: name one with tokenizer.template "
                f"({', '.join(TEMPLATES)}), or add it to its tokenizer_config.json"
            )
        if max_prompt < 1 or max_response < 1:
            raise InputError(f"max_prompt and max_response must be positive, found {max_prompt} and {max_response}")
        # A tokenizer.json may fix both for whoever wrote it; here lengths are decided by this class and the packing.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self.hf = tokenizer
        self.max_prompt = max_prompt
        self.max_response = max_response
        self.eos_id = int(tokenizer.eos_token_id)
        self.vocab_size = len(tokenizer)
        special = sorted(map(re.escape, tokenizer.all_special_tokens + list(tokenizer.get_added_vocab())))
        self._special = re.compile("|".join(special))

    @property
    def max_length(self) -> int:
        """The longest prompt and response together, EOS included."""
        return self.max_prompt + self.max_response + 1

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[Encoded]:
        """Ids of every prompt, rendered with the marker after which the assistant speaks."""
        ids = self._ids([self._render(prompt) for prompt in prompts])
        for i, prompt in enumerate(prompts):
            if any(self._special.search(message.content) for message in prompt):
                ids[i] = self._ids_with_typed_markers(prompt)
        return [Encoded(each[-self.max_prompt :], max(0, len(each) - self.max_prompt)) for each in ids]

    def encode_responses(self, responses: Sequence[str]) -> list[Encoded]:
        """Ids of every response, EOS last."""
        eos = np.array([self.eos_id], np.int32)
        return [
            Encoded(np.concatenate([ids[: self.max_response], eos]), max(0, len(ids) - self.max_response))
            for ids in self._ids(responses, typed=True)
        ]

    def _render(self, prompt: Sequence[Message]) -> str:
        messages = [message._asdict() for message in prompt]
        return self.hf.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _ids(self, texts: Sequence[str], *, typed: bool = False) -> list[np.ndarray]:
        """Ids of every text. In a `typed` one, what reads like a special token is text as any other."""
        backend = self.hf.backend_tokenizer
        backend.encode_special_tokens = typed
        # The template has already written every special token, so none is added; the backend encodes in parallel.
        return [np.array(e.ids, np.int32) for e in backend.encode_batch(list(texts), add_special_tokens=False)]

    def _ids_with_typed_markers(self, prompt: Prompt) -> np.ndarray:
        """Ids of a prompt in whose messages somebody typed a special token: only the template's own are special."""
        hidden = [
            Message(m.role, self._special.sub(lambda found: f"\ue000{found[0]}\ue001", m.content)) for m in prompt
        ]
        # After rendering, the odd parts between these two private characters are what was typed.
        parts = re.split("\ue000(.*?)\ue001", self._render(hidden), flags=re.DOTALL)
        return np.concatenate([self._ids([part], typed=i % 2 == 1)[0] for i, part in enumerate(parts)])

    def save(self, directory: Path) -> None:
        """Writes the files that `AutoTokenizer` opens, chat template included."""
        self.hf.save_pretrained(directory)


def train_bpe(texts: Iterable[str], vocab_size: int) -> object:
    """A byte-level BPE (Sennrich et al. 2016) of at most `vocab_size` ids, as a transformers fast tokenizer.

    Every byte is in its alphabet, so no text is unknown to it. Padding and EOS are different ids.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    _quiet_transformers()
    from transformers import PreTrainedTokenizerFast

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
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=EOS, chat_template=TEMPLATES["markers"]
    )


def open_tokenizer(path: str, *, template: str = "", max_prompt: int, max_response: int) -> Tokenizer:
    """A tokenizer from a local folder or a hub id.

    Args:
        path: what `AutoTokenizer.from_pretrained` takes; code from the hub is never run.
        template: a name in `TEMPLATES` that replaces the tokenizer's own chat template; empty keeps its own.
        max_prompt: see `Tokenizer`.
        max_response: see `Tokenizer`.

    Raises:
        InputError: it cannot be opened, or `template` is unknown.
    """
    _quiet_transformers()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"no tokenizer at {path!r} ({reason}): give a folder that holds tokenizer.json and tokenizer_config.json, "
            "or a hub id while the network is reachable"
        ) from None
    if template:
        if template not in TEMPLATES:
            raise InputError(f"unknown tokenizer.template {template!r}: known are {', '.join(TEMPLATES)}")
        tokenizer.chat_template = TEMPLATES[template]
    return Tokenizer(tokenizer, max_prompt=max_prompt, max_response=max_response)


def _quiet_transformers() -> None:
    # It advises to install PyTorch, which only its models would need.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
