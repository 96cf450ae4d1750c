"""Chat templates: rendering of conversations, and the text before and after an answer.

A template is rendered with the answer in the conversation, as `apply_chat_template` does. So a template may trim an
answer, rewrite it or write text before it, and the result is the text that its author intended. The date that a
template can ask for is fixed: a text has the same ids on every day.
"""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Sequence
from typing import Any

from rmjax.data.comparisons import Message, Prompt
from rmjax.data.template_limits import limited
from rmjax.errors import InputError

# Jinja templates by name, for tokenizers without one. `markers` is that of the BPE that rmjax trains. OPENING is a
# placeholder for the special tokens that the tokenizer puts before a text (BOS or CLS), ENDING for its EOS (or SEP).
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

# The default date. Llama 3.1's template writes it if it has no clock.
DATE = "2024-07-26"

# Prepended to a template that asks for the date. transformers passes data to a template but no functions, so the date
# is formatted beforehand in every format that occurs in the template.
CLOCK = (
    "{% macro strftime_now(format) %}{{ dates[format] if format in dates else "
    "raise_exception('it asks for the date in a format that is not written in it') }}{% endmacro +%}"
)
FORMAT = re.compile(r"""strftime_now\(\s*(?:"([^"]*)"|'([^']*)')\s*\)""")

# A content that can be found in the rendered text. It is random in every process, so that no text contains it.
PROBE = f"\ue002{secrets.randbelow(10**18)}\ue002"


class ChatTemplate:
    """The chat template of a tokenizer, rendered at a fixed date.

    Args:
        tokenizer: a `transformers` tokenizer with a chat template.
        date: the date that the template's `strftime_now` returns, as YYYY-MM-DD, at midnight.

    Attributes:
        before: the text between the last user's content and the answer's content.
        after: the text after the answer's content.

    Raises:
        InputError: there is no template, `date` is no date, or the template does not write each content once.
    """

    def __init__(self, tokenizer: Any, date: str = DATE) -> None:
        if not tokenizer.chat_template or not isinstance(tokenizer.chat_template, str):
            found = "a chat template that is no text" if tokenizer.chat_template else "no chat template"
            raise InputError(
                f"the tokenizer has {found}: name one with tokenizer.template "
                f"({', '.join(TEMPLATES)}), or add it to its tokenizer_config.json"
            )
        try:
            day = datetime.datetime.fromisoformat(date)
        except ValueError:
            raise InputError(f"tokenizer.date={date!r} is not a date: write it as YYYY-MM-DD") from None
        self._tokenizer = tokenizer
        formats = {double or single for double, single in FORMAT.findall(tokenizer.chat_template)}
        self._dates = {name: day.strftime(name) for name in sorted(formats)}
        self._text = ("strftime_now" in tokenizer.chat_template) * CLOCK + tokenizer.chat_template
        # The templates above write contents unchanged, so that most texts need no rendering.
        self._verbatim = tokenizer.chat_template in [named_template(name, tokenizer) for name in TEMPLATES]
        (rendered,) = self._render([[Message("user", PROBE), Message("assistant", PROBE)]])
        parts = rendered.split(PROBE)
        if len(parts) != 3:
            raise InputError(
                "the tokenizer's chat template does not write a question and its answer once each: name another with "
                f"tokenizer.template ({', '.join(TEMPLATES)})"
            )
        self.before, self.after = parts[1:]

    def prompts(self, prompts: Sequence[Prompt]) -> list[str]:
        """Returns the text of every prompt up to the answer's content; it ends with `before`.

        Raises:
            InputError: the template refuses a conversation, or begins its answer in another way than usual.
        """
        rendered = self._render([[*prompt, Message("assistant", PROBE)] for prompt in prompts])
        texts = [text.rpartition(PROBE)[0] for text in rendered]
        for prompt, text in zip(prompts, texts, strict=True):
            if not text.endswith(self.before):
                raise InputError(
                    f"the chat template begins the answer to {_quoted(prompt)} in another way than to other prompts: "
                    f"name another with tokenizer.template ({', '.join(TEMPLATES)})"
                )
        return texts

    def answers(self, responses: Sequence[str]) -> list[str]:
        """Returns, for every response, the text that follows the user's content: `before`, the content, `after`.

        A template that rewrites answers, as Qwen3's rewrites <think>...</think>, may also change `before`.
        """
        if self._verbatim:
            return [self.before + response + self.after for response in responses]
        rendered = self._render([[Message("user", PROBE), Message("assistant", response)] for response in responses])
        return [text.partition(PROBE)[2] for text in rendered]

    def example(self) -> str:
        """Returns a rendered conversation with all text of the template, the date included."""
        return self._render([[Message("user", "?"), Message("assistant", "!")]])[0]

    def _render(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        if not conversations:
            return []  # apply_chat_template refuses an empty list
        turns = [[message._asdict() for message in conversation] for conversation in conversations]
        try:
            with limited(len(turns)):
                return self._tokenizer.apply_chat_template(
                    turns, chat_template=self._text, tokenize=False, dates=self._dates
                )
        except InputError:
            raise
        except Exception as error:  # a template is a program: it can raise anything
            if len(conversations) > 1:  # find the refused one
                return [text for conversation in conversations for text in self._render([conversation])]
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"the chat template refuses {_quoted(conversations[0])}: {reason}") from None


def named_template(name: str, tokenizer: Any) -> str:
    """Returns the template of that name, with the tokenizer's own opening and ending filled in.

    Raises:
        InputError: there is no template of that name.
    """
    if name not in TEMPLATES:
        raise InputError(f"unknown tokenizer.template {name!r}: known are {', '.join(TEMPLATES)}")
    encoding = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True)
    first_of_text = encoding.special_tokens_mask.index(0)
    opening = "".join(encoding.tokens[:first_of_text])
    ending = tokenizer.eos_token or tokenizer.sep_token or ""
    return TEMPLATES[name].replace("OPENING", opening).replace("ENDING", ending)


def _quoted(turns: Sequence[Message]) -> str:
    """Returns the beginning of a conversation in quotation marks, for a message."""
    text = " | ".join(f"{turn.role}: {turn.content}" for turn in turns if turn.content != PROBE)
    return f"the conversation {text if len(text) <= 100 else text[:97] + '...'!r}" if text else "every conversation"
