"""Reading of conversations that a chat template has rendered to text, as trainers send them."""

from __future__ import annotations

from rmjax.data.chat_template import ChatTemplate
from rmjax.data.comparisons import Message, Prompt
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError

# Contents that can be found in a rendered text.
PROBES = tuple(f"\ue003{number}\ue003" for number in range(3))


class RenderedReader:
    """Splits a rendered conversation into its prompt and its last answer.

    The texts between the contents are learned by rendering conversations. A prompt that is read so is rendered again,
    and must give the text that was read: so a template that writes more than this class understands is an error, and
    no other conversation is scored.

    Args:
        tokenizer: of the model whose chat template rendered the texts.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._template = ChatTemplate(tokenizer.hf, tokenizer.date)
        first, second, third = PROBES
        turns = (Message("user", first), Message("assistant", second), Message("user", third))
        self._opening, rest = self._template.prompts([turns])[0].split(first)
        self._before, rest = rest.split(second)
        # Some templates write another text before the last answer, as Qwen3's does.
        self._between, self._last_before = rest.split(third)
        self._system = self._system_texts()
        endings = (self._template.after, self._template.after.rstrip(), tokenizer.hf.eos_token or "")
        self._endings = sorted({ending for ending in endings if ending}, key=len, reverse=True)

    def begins(self, text: str) -> bool:
        """Returns True if a text begins as a conversation of this template does."""
        return any(opening and text.startswith(opening) for opening in (self._opening, self._system[0]))

    def split(self, text: str, where: str) -> tuple[Prompt, str]:
        """Returns the prompt and the last answer of a rendered conversation.

        Raises:
            InputError: the template does not render a conversation to this text.
        """
        # A system turn may begin as a user turn does, or the opening be a system turn that the template adds.
        for opening in sorted((self._opening, self._system[0]), key=len, reverse=True):
            asked, found, answer = text.rpartition(self._last_before)
            prompt = self._turns(asked, opening) if found else ()
            if prompt and self._renders(prompt, text, answer):
                return prompt, self.without_ending(answer)
        raise InputError(
            f"{where}: the chat template of the tokenizer does not give this text for a conversation that ends with an "
            "answer: send messages, or name the tokenizer of the policy with --policy"
        )

    def without_ending(self, answer: str) -> str:
        """Returns an answer without the text that ends a turn, if it has one."""
        for ending in self._endings:
            if answer.endswith(ending):
                return answer.removesuffix(ending)
        return answer

    def _turns(self, text: str, opening: str) -> Prompt:
        """Returns the turns of a prompt without the text after its last content, or none."""
        if not opening or not text.startswith(opening) or not self._before or not self._between:
            return ()
        rest = text[len(opening) :]
        turns = []
        if opening != self._opening:
            content, _, rest = rest.partition(self._system[1])
            turns.append(Message("system", content))
        while True:
            content, found, rest = rest.partition(self._before)
            turns.append(Message("user", content))
            if not found:
                return tuple(turns)
            content, _, rest = rest.partition(self._between)
            turns.append(Message("assistant", content))

    def _renders(self, prompt: Prompt, text: str, answer: str) -> bool:
        try:
            return self._template.prompts([prompt])[0] + answer == text
        except InputError:  # the template refuses the conversation
            return False

    def _system_texts(self) -> tuple[str, str]:
        """Returns the texts before and after the content of a system turn; empty if the template has no such turn."""
        first, second, _ = PROBES
        try:
            rendered = self._template.prompts([(Message("system", first), Message("user", second))])[0]
            opening, rest = rendered.split(first)
        except (InputError, ValueError):
            return "", ""
        return opening, rest.split(second)[0]
