"""A language model with its tokenizer: loading, and responses to prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.data.batch import Example
from rmjax.data.chat_template import DATE
from rmjax.data.comparisons import Prompt
from rmjax.data.examples import encode_groups
from rmjax.data.pretrained_tokenizer import open_tokenizer
from rmjax.data.tokenizer import ResponseIds, Tokenizer
from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.pretrained import open_pretrained
from rmjax.models.sampling import Sampler
from rmjax.models.token_choice import SamplingSettings
from rmjax.models.transformer import LanguageModel, model_in_words, parameter_shapes
from rmjax.parallel.layout import Layout, make_layout
from rmjax.scoring.batched_forward import BatchedForward
from rmjax.scoring.checkpoint import is_hugging_face, load_params, load_tokenizer
from rmjax.scoring.contract import read_contract
from rmjax.scoring.hub import check_tokenizer
from rmjax.scoring.run_checkpoints import find_checkpoint


class Response(NamedTuple):
    """One sampled response.

    Attributes:
        text: its text, without the ending of the chat template.
        tokens: number of sampled tokens, the ending included.
        logprob: sum of their log-probabilities, in nats; see `SamplingSettings`.
        stopped: it ends with the ending; False if it was cut at `max_response`.
    """

    text: str
    tokens: int
    logprob: float
    stopped: bool


class Generated(NamedTuple):
    """The responses to each prompt, and the number of tokens that were cut off the beginning of each prompt."""

    responses: list[list[Response]]
    cut: list[int]


@dataclasses.dataclass(frozen=True)
class LoadedLanguageModel:
    """A language model that generates text.

    Attributes:
        params: parameters of a `LanguageModel`, laid out by `layout`.
        config: settings of the trunk.
        dtype: compute dtype.
        tokenizer: the tokenizer.
        layout: the devices.
        origin: where the weights come from, for `repr`.
    """

    params: Any
    config: TransformerConfig
    dtype: jnp.dtype
    tokenizer: Tokenizer
    layout: Layout
    origin: str = ""

    def __repr__(self) -> str:
        size = model_in_words(LanguageModel(self.config, self.dtype))
        return f"LoadedLanguageModel({'; '.join((size, self.tokenizer.limits_in_words(), self.origin))})"

    def settings(self, *, max_response: int = 0, **sampling: Any) -> SamplingSettings:
        """Returns settings of sampling that stop at the template's ending.

        Args:
            max_response: the most tokens of a response, the ending included; 0 for the tokenizer's limit.
            sampling: further fields of `SamplingSettings`.
        """
        ending = self.tokenizer.ending
        return SamplingSettings(
            max_response=max_response or self.tokenizer.max_response + len(ending), stop=ending, **sampling
        )

    def sampler(self, settings: SamplingSettings) -> Sampler:
        """Returns a sampler. Float32 is computed in float32 on all devices."""
        precision = "highest" if self.dtype == jnp.float32 else None
        return Sampler(self.config, self.dtype, self.layout, settings, precision=precision)

    def log_probs(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Returns the log-probability of every response to each prompt, `[K] float32`, in nats.

        It is the sum over the tokens of the response and its ending. Truncated texts have that of what is left.
        """
        prompt_ids, response_ids = encode_groups(prompts, responses, self.tokenizer)
        examples = [
            Example(prompt.ids, tuple(response.ids for response in group))
            for prompt, group in zip(prompt_ids, response_ids, strict=True)
        ]
        run = BatchedForward(LanguageModel(self.config, self.dtype), self.layout)
        return [scores[:, 0] for scores in run(self.params, examples)]

    def encode_prompts(self, prompts: Sequence[Prompt], max_response: int) -> list[tuple[np.ndarray, int]]:
        """Returns the ids of every prompt, cut to what a response of `max_response` tokens leaves, and the cut."""
        longest = ResponseIds(np.zeros(max_response, np.int32), 0)
        whole = self.tokenizer.encode_prompts(prompts)
        return [(kept.ids, kept.cut) for kept, _ in (self.tokenizer.truncate(prompt, [longest]) for prompt in whole)]

    def generate(
        self, prompts: Sequence[Prompt], n: int = 1, *, seed: int = 0, first_prompt: int = 0, sampler: Sampler
    ) -> Generated:
        """Returns n responses to every prompt.

        Args:
            prompts: conversations that end with a user turn.
            n: number of responses to each.
            seed: seed of the random numbers.
            first_prompt: index of the first prompt, to continue an earlier call.
            sampler: of this model's `sampler`.
        """
        encoded = self.encode_prompts(prompts, sampler.settings.max_response)
        indices = range(first_prompt, first_prompt + len(prompts))
        found = sampler(self.params, [ids for ids, _ in encoded], n, seed=seed, prompt_indices=indices)
        responses = [
            [
                Response(
                    self.tokenizer.decode_response(ids.tolist()),
                    len(ids),
                    float(log_probs.sum(dtype=np.float64)),
                    bool(stopped),
                )
                for ids, log_probs, stopped in zip(*samples, strict=True)
            ]
            for samples in found
        ]
        return Generated(responses, [cut for _, cut in encoded])


def load_language_model(
    path: str | Path,
    *,
    devices: int = 0,
    layout: str = "pmap",
    tensor: int = 0,
    template: str = "",
    max_prompt: int = 0,
    max_response: int = 0,
    date: str = "",
) -> LoadedLanguageModel:
    """Loads a language model from an SFT run, a checkpoint in it, or a Hugging Face folder.

    Args:
        path: the directory.
        devices: number of devices; 0: all.
        layout: layout over the devices; see `rmjax.parallel.layout.make_layout`.
        tensor: argument of the layout.
        template: only for a Hugging Face folder, as the next three: a chat template by name; empty for its own.
        max_prompt: the least tokens left of a prompt; 0: half of the positions.
        max_response: the least tokens left of a response; 0: the other half.
        date: the date that the template writes, YYYY-MM-DD; empty for the usual one.

    Raises:
        InputError: there is no language model, or it is damaged.
    """
    path, over = Path(path), make_layout(layout=layout, devices=devices, tensor=tensor)
    if is_hugging_face(path):
        return _load_hugging_face(path, over, template, max_prompt, max_response, date)
    if template or max_prompt or max_response or date:
        raise InputError(
            f"{path} states its own settings: template, max_prompt, max_response and date are only for folders in "
            "Hugging Face's format"
        )
    checkpoint = find_checkpoint(path)
    contract = read_contract(checkpoint / "contract.json")
    if contract.kind != "language_model":
        sft = f": its language model is in {path / 'sft'}" if (path / "sft").is_dir() else ": name an SFT run"
        raise InputError(f"{checkpoint} is a reward model, which cannot generate{sft}")
    params = over.device_put(load_params(checkpoint, contract, over))
    dtype = jnp.dtype(contract.compute_dtype)
    tokenizer = load_tokenizer(checkpoint, contract)
    return LoadedLanguageModel(params, contract.trunk, dtype, tokenizer, over, contract.origin_in_words())


def _load_hugging_face(
    folder: Path, layout: Layout, template: str, max_prompt: int, max_response: int, date: str
) -> LoadedLanguageModel:
    opened = open_hugging_face(
        folder, layout, template=template, max_prompt=max_prompt, max_response=max_response, date=date
    )
    return dataclasses.replace(opened, params=layout.device_put(opened.params))


def open_hugging_face(
    folder: Path, layout: Layout, *, template: str = "", max_prompt: int = 0, max_response: int = 0, date: str = ""
) -> LoadedLanguageModel:
    """Loads a language model from a Hugging Face folder; its parameters are sharded by the layout, not replicated.

    Args:
        folder: the folder.
        layout: the devices.
        template: as the next three, see `load_language_model`.
        max_prompt: see there.
        max_response: see there.
        date: see there.

    Raises:
        InputError: there is no causal language model, or it is damaged.
    """
    pretrained = open_pretrained(str(folder))
    output = f"{pretrained.family.output}.weight"
    if pretrained.labels and output not in pretrained.tensors:
        raise InputError(
            f"{folder} is a reward model (class {pretrained.named}), which cannot generate: name a language model"
        )
    config = pretrained.config
    if not config.causal:
        raise InputError(f"{folder} is an encoder, which cannot generate: name a language model")
    tokenizer = open_tokenizer(str(folder), template=template, max_prompt=2, max_response=1, date=date or DATE)
    room = (config.max_positions or 4096) - len(tokenizer.ending)
    max_prompt = max_prompt or (room - max_response if max_response else room // 2)
    tokenizer.set_limits(max_prompt, max_response or room - max_prompt)
    check_tokenizer(tokenizer, config, str(folder))
    shapes = parameter_shapes(LanguageModel(config, jnp.dtype("float32")))
    params, _ = pretrained.load(shapes, place=layout.put_param)
    if "output" in shapes and "output" not in params:
        raise InputError(f"{folder} has no output layer, so it cannot generate: name a causal language model")
    narrow = any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(params))
    dtype = jnp.dtype("bfloat16" if narrow else "float32")
    return LoadedLanguageModel(params, config, dtype, tokenizer, layout, f"from {folder}")
