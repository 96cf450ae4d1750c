"""Tokenization of prompts and responses: the boundary between them, truncation, and decoding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmjax.data.chat_template import DATE, ChatTemplate
from rmjax.data.comparisons import Message, Prompt
from rmjax.data.special_tokens import TextEncoder
from rmjax.errors import InputError

# Characters at the end of a prompt that a response is tokenized with if no special token separates the two.
TAIL_LENGTH = 64


class Encoded(NamedTuple):
    """Token ids `[T] int32` after truncation, and the number of tokens that were cut."""

    ids: np.ndarray
    cut: int


class PromptIds(NamedTuple):
    """A whole prompt: its ids `[T] int32`, and the end of its text, with which its responses are tokenized."""

    ids: np.ndarray
    tail: str


class ResponseIds(NamedTuple):
    """A whole response: its ids `[T] int32`, and the number of the prompt's last ids that they replace.

    A response replaces ids of the prompt if a token contains text of both, for example two line breaks.
    """

    ids: np.ndarray
    replaces: int


class Tokenizer:
    """Converts prompts and responses to ids, and the ids of responses to text.

    The ids of a prompt and a response together are the ids of the answered conversation,
    `apply_chat_template(turns, tokenize=True)`, with three deliberate differences. Special tokens in the contents of
    messages are ordinary text, unless `split_special_tokens` is False. EOS is appended if the template writes nothing
    after an answer. The date in a template is `date`.

    A prompt and a response have `max_prompt + max_response` tokens together, and each may use what the other leaves. If
    both are longer than their share, the prompt is cut to its last `max_prompt` tokens (and BOS or CLS at its
    beginning) and the response to its first `max_response`. The text after an answer, the `ending`, is never cut.

    Args:
        tokenizer: a `transformers` fast tokenizer with a chat template.
        max_prompt: a prompt is never cut to fewer tokens.
        max_response: a response is never cut to fewer tokens, the ending not counted.
        pad_id: an id that the model ignores at the end of a text, as Hugging Face's classifiers do with padding; it is
            left out of the ending. None for no such id.
        date: see `ChatTemplate`.
        split_special_tokens: special tokens in contents are split into ordinary tokens, so that no content can end or
            forge a turn. False is the default of transformers.

    Attributes:
        hf: the `transformers` tokenizer.
        ending: the ids after every complete response.
        vocab_size: number of ids, added tokens included.

    Raises:
        InputError: there is no EOS to end a response with, the chat template is missing or cannot be used, or a limit
            is too small.
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
        self.set_limits(max_prompt, max_response)
        # A tokenizer.json may contain both, but this class truncates and the packing pads.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self.hf = tokenizer
        self.date, self.split_special_tokens = date, split_special_tokens
        self.vocab_size = len(tokenizer)
        self._template = ChatTemplate(tokenizer, date)
        self._encoder = TextEncoder(tokenizer, split_special_tokens=split_special_tokens)
        self._openers = {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
        self._find_boundaries(pad_id)

    def _find_boundaries(self, pad_id: int | None) -> None:
        """Sets the attributes that locate the beginning of a response in the ids, and its ending."""
        before, after = self._template.before, self._template.after
        found = list(self._encoder.special.finditer(before))
        # No token crosses a special token, so a response can change only tokens after the last special token. If the
        # template has none, its text before the answer is enough, unless a token contains that and the prompt's text.
        self._anchor = found[-1].start() if found else None
        self._usual_tail = "?" + before if self._anchor is None else before[self._anchor :]
        self._context_ids = self._encoder.encode(["?"])[0].tolist()
        prompt, answer, whole = self._encoder.encode(
            [self._usual_tail, f"{self._usual_tail}a", f"{self._usual_tail}a{after}"]
        )
        self._usual_ids = prompt[2:]
        self._adds_eos = not after.strip()
        ending = [self._eos_id()] if self._adds_eos else whole[_common(whole, answer) :].tolist()
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
        """The largest number of tokens of a prompt and a response together, ending included."""
        return self.max_prompt + self.max_response + len(self.ending)

    # --- whole texts --------------------------------------------------------------------------------------------------

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[PromptIds]:
        """Returns the ids of every prompt up to the beginning of the answer, not truncated."""
        protected = [
            tuple(Message(turn.role, self._encoder.protect(turn.content)) for turn in prompt) for prompt in prompts
        ]
        texts = self._template.prompts(protected)
        return [
            PromptIds(ids, self._tail(text, ids)) for ids, text in zip(self._encoder.encode(texts), texts, strict=True)
        ]

    def encode_responses(self, prompts: Sequence[PromptIds], responses: Sequence[str]) -> list[ResponseIds]:
        """Returns the ids of every response to the prompt of the same index, the ending last, not truncated.

        Raises:
            InputError: a response has no token to be scored at.
        """
        keys = [(prompt.tail, response) for prompt, response in zip(prompts, responses, strict=True)]
        distinct = list(dict.fromkeys(keys))  # short answers occur many times
        texts = list(dict.fromkeys(response for _, response in distinct))
        answers = dict(zip(texts, self._template.answers([self._encoder.protect(text) for text in texts]), strict=True))
        tails = list(dict.fromkeys(tail for tail, _ in distinct))
        before = dict(zip(tails, self._encoder.encode(tails), strict=True))
        whole = self._encoder.encode([self._continued(tail, answers[response]) for tail, response in distinct])
        encoded = {key: self._response(before[key[0]], ids) for key, ids in zip(distinct, whole, strict=True)}
        return [encoded[key] for key in keys]

    def decode_response(self, ids: Sequence[int], *, replaced: Sequence[int] = ()) -> str:
        """Returns the text of a response, its ending removed if it is complete.

        Inverse of `encode_responses`, except for what the template or the tokenizer changed: a template that trims
        answers gives the trimmed text, and a tokenizer that normalizes characters gives the normalized text. If a
        template rewrites its own text before the answer (Qwen3's thoughts), the result is the text that differs from
        the prompt's.

        Args:
            ids: ids that follow those of a prompt: encoded, or generated by a model.
            replaced: the last ids of the prompt if the response replaces them: those cut off by `ResponseIds.replaces`.
                Generated ids replace none.
        """
        # Decoders treat the first token of a text specially, so all texts begin with the same other token.
        context, before, whole, ended = (
            self._decode([*self._context_ids, *map(int, part)]) for part in ((), replaced, ids, self.ending)
        )
        text = whole[_common(np.array(list(before)), np.array(list(whole))) :]
        complete = [int(token) for token in ids[-1:]] == list(self.ending[-1:])
        return text.removesuffix(ended[len(context) :]) if complete else text

    def _decode(self, ids: list[int]) -> str:
        return self.hf.backend_tokenizer.decode(ids, skip_special_tokens=False)

    def _tail(self, text: str, ids: np.ndarray) -> str:
        """Returns the end of a prompt's text that its responses are tokenized with; it is the same for most prompts."""
        usual = len(self._usual_ids)
        if self._anchor is not None or (usual > 1 and np.array_equal(ids[max(0, len(ids) - usual) :], self._usual_ids)):
            return self._usual_tail
        return text[-max(TAIL_LENGTH, len(self._template.before) + 1) :]

    def _continued(self, tail: str, answer: str) -> str:
        """Returns a tail with an answer after it, as the template writes both."""
        if self._adds_eos and self._template.after:
            answer = answer.removesuffix(self._template.after)
        if self._anchor is None:
            return tail.removesuffix(self._template.before) + answer
        return answer[self._anchor :]

    def _response(self, before: np.ndarray, whole: np.ndarray) -> ResponseIds:
        unchanged = _common(before, whole)
        if self._adds_eos:
            whole = np.append(whole, np.array(self.ending, np.int32))
        elif self._ignored:
            whole = whole[: -self._ignored]
        if unchanged == len(whole):
            raise InputError("an empty response has no token to be scored at: this model's texts end without EOS")
        return ResponseIds(whole[unchanged:], len(before) - unchanged)

    # --- truncation ---------------------------------------------------------------------------------------------------

    def truncate(self, prompt: PromptIds, responses: Sequence[ResponseIds]) -> tuple[Encoded, list[Encoded]]:
        """Returns one prompt for all the responses, and the responses, truncated to the limits.

        The prompt is cut to what the longest response leaves. So if the siblings of a response must not matter, pass it
        alone.
        """
        replaced = max(response.replaces for response in responses)
        shared = prompt.ids[: len(prompt.ids) - replaced]
        whole = [
            np.concatenate([prompt.ids[len(shared) : len(prompt.ids) - response.replaces], response.ids])
            if replaced > response.replaces
            else response.ids
            for response in responses
        ]
        ending = len(self.ending)
        prompt_length, _ = self.truncated_lengths(len(shared), max(map(len, whole)) - ending)
        lengths = [self.truncated_lengths(prompt_length, len(ids) - ending)[1] for ids in whole]
        cut = len(shared) - prompt_length
        opener = shared[:1] if cut and int(shared[0]) in self._openers else shared[:0]
        ids = np.concatenate([opener, shared[cut + len(opener) :]]) if cut else shared
        return Encoded(ids, cut), [
            Encoded(np.concatenate([ids[:length], ids[len(ids) - ending :]]), len(ids) - ending - length)
            if length < len(ids) - ending
            else Encoded(ids, 0)
            for ids, length in zip(whole, lengths, strict=True)
        ]

    def limits_in_words(self) -> str:
        """Returns the two limits in words."""
        return f"prompts of {self.max_prompt} and responses of {self.max_response} tokens"

    def set_limits(self, max_prompt: int, max_response: int) -> None:
        """Sets the numbers of tokens below which prompts and responses are never cut.

        Raises:
            InputError: one of the two is too small.
        """
        if max_prompt < 2 or max_response < 1:
            raise InputError(
                f"max_prompt must be at least 2 and max_response at least 1, found {max_prompt} and {max_response}"
            )
        self.max_prompt, self.max_response = max_prompt, max_response

    def truncated_lengths(self, prompt: int, response: int) -> tuple[int, int]:
        """Returns the lengths of a prompt and a response after truncation, the ending not counted."""
        limit = self.max_prompt + self.max_response
        prompt = min(prompt, max(self.max_prompt, limit - response))
        return prompt, min(response, limit - prompt)

    # --- files --------------------------------------------------------------------------------------------------------

    def stated(self) -> dict[str, Any]:
        """Returns the fields of a scoring contract that describe the tokenizer."""
        names = ("max_prompt", "max_response", "date", "split_special_tokens", "ending")
        return {"chat_template": self.hf.chat_template, **{name: getattr(self, name) for name in names}}

    def identity(self) -> str:
        """Returns everything that ids depend on except the text: tokenizers with equal identities give equal ids."""
        backend = [self.hf.special_tokens_map, self.hf.backend_tokenizer.to_str()]
        return json.dumps([self.stated(), self._template.example(), *backend], default=str)

    def save(self, directory: Path) -> None:
        """Writes the files that `AutoTokenizer` loads, chat template included."""
        self.hf.save_pretrained(directory)


def _common(first: np.ndarray, second: np.ndarray) -> int:
    """Returns the length of the common beginning of two arrays."""
    shared = min(len(first), len(second))
    different = np.flatnonzero(first[:shared] != second[:shared])
    return int(different[0]) if len(different) else shared
