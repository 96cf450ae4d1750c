"""Text -> token ids: special tokens, the boundary between prompt and response, and truncation."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmjax.data.chat_template import DATE, ChatTemplate, named_template
from rmjax.data.comparisons import Message, Prompt
from rmjax.errors import InputError

PAD, EOS = "<|pad|>", "<|eos|>"
ROLE_MARKERS = ("<|system|>", "<|user|>", "<|assistant|>")

# Characters of a prompt that a response is tokenized after, where no special token separates the two.
WINDOW = 64


class Encoded(NamedTuple):
    """Token ids `[T] int32` after truncation, and how many tokens that cut off."""

    ids: np.ndarray
    cut: int


class PromptIds(NamedTuple):
    """A whole prompt: its ids `[T] int32`, and the end of its text, which a response is tokenized after."""

    ids: np.ndarray
    tail: str


class ResponseIds(NamedTuple):
    """A whole response: its ids `[T] int32`, and how many of the prompt's last ids they replace.

    A response replaces ids of the prompt where the two texts share a token, such as two line breaks.
    """

    ids: np.ndarray
    replaces: int


class Tokenizer:
    """Turns prompts and responses into ids.

    The ids of a prompt and of a response are together those of the answered conversation as the tokenizer's
    chat template writes it: `apply_chat_template(turns, tokenize=True)`. There are three differences, all by design.
    Special tokens that somebody typed are text, unless `split_special_tokens` is False. EOS follows where the template
    writes nothing after an answer. The template's clock tells `date`.

    A prompt and a response have `max_prompt + max_response` tokens together. Each may use what the other leaves. Where
    both are longer than their share, the prompt keeps its last `max_prompt` tokens (and a BOS or CLS at its beginning)
    and the response its first `max_response`. The text after an answer, the `ending`, is always kept.

    Args:
        tokenizer: a `transformers` fast tokenizer with a chat template.
        max_prompt: tokens that a prompt keeps at least.
        max_response: tokens that a response keeps at least, the ending not counted.
        pad_id: an id that the model ignores at the end of a text, as Hugging Face's classifiers do with padding; the
            ending goes without it. None for no such id.
        date: see `ChatTemplate`.
        split_special_tokens: whether special tokens in contents are split into ordinary tokens, so that no content can
            end or forge a turn. False does what transformers does by default.

    Raises:
        InputError: there is no EOS to end a response with, the chat template is missing or cannot be used, or a limit
            is not positive.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_prompt: int,
        max_response: int,
        pad_id: int | None = None,
        date: str = DATE,
        split_special_tokens: bool = True,
    ) -> None:
        self.limit(max_prompt, max_response)
        # A tokenizer.json may state both; here lengths are decided by this class and the packing.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self.hf = tokenizer
        self.date, self.split_special_tokens = date, split_special_tokens
        self.vocab_size = len(tokenizer)
        self._template = ChatTemplate(tokenizer, date)
        # Only these can end or forge a turn. Other added tokens, such as runs of spaces, are text as any other.
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
        longest_first = sorted((token.content for token in added if token.special), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._openers = {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
        self._learn_the_boundaries(pad_id)

    def _learn_the_boundaries(self, pad_id: int | None) -> None:
        """Finds out where a response begins in the ids, and which ids end it."""
        before, after = self._template.before, self._template.after
        found = list(self._special.finditer(before))
        # Tokens never cross a special token, so the text from the last one on is all that a response can change. Where
        # there is none, the text of the template is enough, if the prompt's own text does not reach into its tokens.
        self._anchor = found[-1].start() if found else None
        self._usual_tail = "?" + before if self._anchor is None else before[self._anchor :]
        prompt, answer, whole = self._ids([self._usual_tail, f"{self._usual_tail}a", f"{self._usual_tail}a{after}"])
        self._usual_ids = prompt[2:]
        self._silent = not after.strip()
        ending = [self._eos_id()] if self._silent else whole[_common(whole, answer) :].tolist()
        self._ignored = len(ending)
        while ending and ending[-1] == pad_id:
            ending.pop()
        self._ignored -= len(ending)
        self.ending = tuple(ending)

    def _eos_id(self) -> int:
        token = self.hf.eos_token_id if self.hf.eos_token_id is not None else self.hf.sep_token_id
        if token is None:
            raise InputError("the tokenizer has no EOS token: set eos_token in its tokenizer_config.json")
        return int(token)

    @property
    def max_length(self) -> int:
        """The longest prompt and response together, ending included."""
        return self.max_prompt + self.max_response + len(self.ending)

    # --- whole texts --------------------------------------------------------------------------------------------------

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[PromptIds]:
        """Returns the ids of every prompt up to where the answer begins, not truncated."""
        protected = [tuple(Message(turn.role, self._protect(turn.content)) for turn in prompt) for prompt in prompts]
        texts = self._template.prompts(protected)
        return [PromptIds(ids, self._tail(text, ids)) for ids, text in zip(self._ids(texts), texts, strict=True)]

    def encode_responses(self, prompts: Sequence[PromptIds], responses: Sequence[str]) -> list[ResponseIds]:
        """Returns the ids of every response to the prompt at the same place, the ending last, not truncated.

        Raises:
            InputError: a response has no token to be scored at.
        """
        keys = [(prompt.tail, response) for prompt, response in zip(prompts, responses, strict=True)]
        distinct = list(dict.fromkeys(keys))  # short answers come again and again
        texts = list(dict.fromkeys(response for _, response in distinct))
        answers = dict(zip(texts, self._template.answers([self._protect(text) for text in texts]), strict=True))
        tails = list(dict.fromkeys(tail for tail, _ in distinct))
        before = dict(zip(tails, self._ids(tails), strict=True))
        whole = self._ids([self._continued(tail, answers[response]) for tail, response in distinct])
        encoded = {key: self._response(before[key[0]], ids) for key, ids in zip(distinct, whole, strict=True)}
        return [encoded[key] for key in keys]

    def _tail(self, text: str, ids: np.ndarray) -> str:
        """The end of a prompt's text, which its responses are tokenized after; the same for most prompts."""
        usual = len(self._usual_ids)
        if self._anchor is not None or (usual > 1 and np.array_equal(ids[max(0, len(ids) - usual) :], self._usual_ids)):
            return self._usual_tail
        return text[-max(WINDOW, len(self._template.before) + 1) :]

    def _continued(self, tail: str, answer: str) -> str:
        """A tail with an answer as the template writes it."""
        if self._silent and self._template.after:
            answer = answer.removesuffix(self._template.after)
        if self._anchor is None:
            return tail.removesuffix(self._template.before) + answer
        return answer[self._anchor :]

    def _response(self, before: np.ndarray, whole: np.ndarray) -> ResponseIds:
        firm = _common(before, whole)
        if self._silent:
            whole = np.append(whole, np.array(self.ending, np.int32))
        elif self._ignored:
            whole = whole[: -self._ignored]
        if firm == len(whole):
            raise InputError("an empty response has no token to be scored at: this model's texts end without EOS")
        return ResponseIds(whole[firm:], len(before) - firm)

    # --- truncation ---------------------------------------------------------------------------------------------------

    def join(self, prompt: PromptIds, responses: Sequence[ResponseIds]) -> tuple[Encoded, list[Encoded]]:
        """Returns one prompt for all the responses, and the responses, truncated to the limits.

        The prompt is cut to what the longest response leaves, so pass one response alone where its siblings must not
        matter.
        """
        replaced = max(response.replaces for response in responses)
        firm = prompt.ids[: len(prompt.ids) - replaced]
        whole = [
            np.concatenate([prompt.ids[len(firm) : len(prompt.ids) - response.replaces], response.ids])
            if replaced > response.replaces
            else response.ids
            for response in responses
        ]
        ending = len(self.ending)
        kept_prompt, _ = self.kept(len(firm), max(map(len, whole)) - ending)
        kept = [self.kept(kept_prompt, len(ids) - ending)[1] for ids in whole]
        cut = len(firm) - kept_prompt
        opener = firm[:1] if cut and int(firm[0]) in self._openers else firm[:0]
        shown = np.concatenate([opener, firm[cut + len(opener) :]]) if cut else firm
        return Encoded(shown, cut), [
            Encoded(np.concatenate([ids[:length], ids[len(ids) - ending :]]), len(ids) - ending - length)
            if length < len(ids) - ending
            else Encoded(ids, 0)
            for ids, length in zip(whole, kept, strict=True)
        ]

    def limit(self, max_prompt: int, max_response: int) -> None:
        """Sets how many tokens a prompt and a response keep at least.

        Raises:
            InputError: one of the two is too small.
        """
        if max_prompt < 2 or max_response < 1:
            raise InputError(
                f"max_prompt must be at least 2 and max_response at least 1, found {max_prompt} and {max_response}"
            )
        self.max_prompt, self.max_response = max_prompt, max_response

    def kept(self, prompt: int, response: int) -> tuple[int, int]:
        """Returns how many of so many tokens of a prompt and of a response are kept, the ending not counted."""
        room = self.max_prompt + self.max_response
        kept_prompt = min(prompt, max(self.max_prompt, room - response))
        return kept_prompt, min(response, room - kept_prompt)

    # --- special tokens -----------------------------------------------------------------------------------------------

    def _protect(self, content: str) -> str:
        """Marks special tokens that somebody typed, so that they can be told from the template's own."""
        if not self.split_special_tokens or not self._special.search(content):
            return content
        return self._special.sub(lambda found: f"{OPEN}{found[0]}{CLOSE}", content)

    def _ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        # The template has written every special token, so none is added; the backend encodes in parallel.
        encoded = self.hf.backend_tokenizer.encode_batch_fast(
            ["" if _NONCE in text else text for text in texts], add_special_tokens=False
        )
        return [
            self._ids_of_marked(text) if _NONCE in text else np.array(each.ids, np.int32)
            for text, each in zip(texts, encoded, strict=True)
        ]

    def _ids_of_marked(self, text: str) -> np.ndarray:
        """Ids of a text with marked special tokens: those are text as any other, all others are special."""
        backend, ids = self._renamed
        parts = re.split(f"{OPEN}(.*?){CLOSE}", text, flags=re.DOTALL)  # the odd ones are marked
        # A template that takes contents apart can leave one mark of two.
        others = [part.replace(OPEN, "").replace(CLOSE, "") for part in parts[::2]]
        renamed = [self._special.sub(lambda found: _renamed(found[0]), part) for part in others]
        joined = "".join(itertools.chain(*itertools.zip_longest(renamed, parts[1::2], fillvalue="")))
        return ids[backend.encode(joined, add_special_tokens=False).ids]

    @functools.cached_property
    def _renamed(self) -> tuple[Any, np.ndarray]:
        """The backend with other names for its special tokens, and its ids -> those of the tokenizer.

        Encoding the parts of a text one by one would not do: some tokenizers put a space before each.
        """
        from tokenizers import Tokenizer as Backend

        settings = json.loads(self.hf.backend_tokenizer.to_str())
        names = {token["content"]: _renamed(token["content"]) for token in settings["added_tokens"] if token["special"]}
        for token in settings["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        backend = Backend.from_str(json.dumps(settings))
        ids = np.arange(backend.get_vocab_size(with_added_tokens=True) + len(settings["added_tokens"]), dtype=np.int32)
        for token in settings["added_tokens"]:
            ids[backend.token_to_id(token["content"])] = token["id"]
        return backend, ids

    # --- files --------------------------------------------------------------------------------------------------------

    def stated(self) -> dict[str, Any]:
        """Returns what a scoring contract states about the tokenizer, by the names of its fields."""
        names = ("max_prompt", "max_response", "date", "split_special_tokens", "ending")
        return {"chat_template": self.hf.chat_template, **{name: getattr(self, name) for name in names}}

    def identity(self) -> str:
        """Returns all that ids depend on except the text: tokenizers with equal identities give equal ids."""
        backend = [self.hf.special_tokens_map, self.hf.backend_tokenizer.to_str()]
        return json.dumps([self.stated(), self._template.example(), *backend], default=str)

    def save(self, directory: Path) -> None:
        """Writes the files that `AutoTokenizer` opens, chat template included."""
        self.hf.save_pretrained(directory)


# Marks around a special token that somebody typed, and the names of special tokens while such a text is encoded. They
# are drawn anew in every process, so that no text can contain them.
_NONCE = f"{secrets.randbelow(10**18):018}"
OPEN, CLOSE = f"\ue000{_NONCE}", f"{_NONCE}\ue001"


def _renamed(special: str) -> str:
    return f"\ue003{_NONCE}{special.encode().hex()}\ue004"


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """The number of ids that two arrays have in common at their beginnings."""
    shared = min(len(first), len(second))
    different = np.flatnonzero(first[:shared] != second[:shared])
    return int(different[0]) if len(different) else shared


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
    tokenizer.chat_template = named_template("markers", tokenizer)
    return tokenizer


def open_tokenizer(
    path: str,
    *,
    template: str = "",
    max_prompt: int,
    max_response: int,
    pad_id: int | None = None,
    date: str = DATE,
    split_special_tokens: bool = True,
) -> Tokenizer:
    """A tokenizer from a local folder or a hub id.

    Args:
        path: what `AutoTokenizer.from_pretrained` takes; code from the hub is never run.
        template: a name in `TEMPLATES` that replaces the tokenizer's own chat template; empty keeps its own.
        max_prompt: see `Tokenizer`.
        max_response: see `Tokenizer`.
        pad_id: see `Tokenizer`.
        date: see `Tokenizer`.
        split_special_tokens: see `Tokenizer`.

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
        tokenizer.chat_template = named_template(template, tokenizer)
    return Tokenizer(
        tokenizer,
        max_prompt=max_prompt,
        max_response=max_response,
        pad_id=pad_id,
        date=date,
        split_special_tokens=split_special_tokens,
    )


def _quiet_transformers() -> None:
    # It advises to install PyTorch, which only its models would need.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
