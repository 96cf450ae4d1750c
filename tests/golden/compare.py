"""Comparison of the golden files with the results of rmjax for the same texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from naive import by_example, one_bin
from safetensors.numpy import load_file, save_file

from rmjax.data.batch import BatchShape, Example
from rmjax.models.config import default_head
from rmjax.models.mask import packed_context
from rmjax.models.pretrained import Pretrained
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, parameter_shapes

GOLDEN = Path(__file__).resolve().parent
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/expected.npz"))
CAUSAL = sorted(path.parent.name for path in GOLDEN.glob("*/language_model"))
WIDE, NARROW = BatchShape(2, 96, 8, 1), BatchShape(7, 32, 8, 1)


def read_expected(name: str) -> dict[str, np.ndarray]:
    """What torch computed; see `generate.expect`."""
    with np.load(GOLDEN / name / "expected.npz") as arrays:
        return dict(arrays)


def as_examples(expected: dict[str, np.ndarray]) -> list[Example]:
    """Neighbouring texts with an equal prompt become the responses of one example."""
    ends = np.cumsum(expected["lengths"])
    grouped: dict[bytes, tuple[np.ndarray, list[np.ndarray]]] = {}
    for start, end, prompt in zip(ends - expected["lengths"], ends, expected["prompts"], strict=True):
        ids = expected["tokens"][start:end]
        grouped.setdefault(ids[:prompt].tobytes(), (ids[:prompt], []))[1].append(ids[prompt:])
    return [Example(prompt, tuple(responses)) for prompt, responses in grouped.values()]


def copy_golden(name: str, kind: str, folder: Path) -> Path:
    """A copy of a golden checkpoint in `folder`, to be changed."""
    return Path(shutil.copytree(GOLDEN / name / kind, folder, dirs_exist_ok=True))


def edit_config(folder: Path, **fields: Any) -> None:
    """Sets fields of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def edit_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    """Passes the tensors through `change`."""
    path = folder / "model.safetensors"
    changed = {name: np.ascontiguousarray(tensor) for name, tensor in change(load_file(path)).items()}
    save_file(changed, path, metadata={"format": "pt"})


def reward_module(pretrained: Pretrained, heads: tuple[str, ...] = ("helpful",)) -> RewardTransformer:
    """The float32 reward model on that trunk."""
    return RewardTransformer(pretrained.config, default_head(heads, pretrained.config), jnp.dtype("float32"))


def classify(
    pretrained: Pretrained, params: Any, examples: list[Example], shape: BatchShape
) -> tuple[np.ndarray, list]:
    """(hidden states `[tokens, D]`, scores `[N]`) of every text, all packed into one batch of `shape`."""

    def both(module: RewardTransformer, batch: Any) -> tuple[jax.Array, jax.Array]:
        return module.trunk(batch.tokens_RxL, packed_context(batch))[0], module(batch)

    module = reward_module(pretrained)
    batch, slots = one_bin(examples, shape, share_prompts=pretrained.config.causal)
    hidden, scores = jax.jit(lambda p, b: module.apply({"params": p}, b, method=both))(params, batch)
    return own_tokens(hidden, batch, slots), np.concatenate(by_example(scores[:, 0], slots, examples))


def read_logits(pretrained: Pretrained, params: Any, examples: list[Example], shape: BatchShape) -> np.ndarray:
    """Next-token logits `[tokens, V]` of every text, all packed into one batch of `shape`."""
    batch, slots = one_bin(examples, shape)
    module = LanguageModel(pretrained.config, jnp.dtype("float32"))
    return own_tokens(jax.jit(lambda p, b: module.apply({"params": p}, b))(params, batch), batch, slots)


def load_reward(pretrained: Pretrained) -> Any:
    """Its parameters as a reward model with one head."""
    return pretrained.load(parameter_shapes(reward_module(pretrained)), heads=("helpful",))[0]


def load_language_model(pretrained: Pretrained) -> Any:
    """Its parameters as a language model."""
    return pretrained.load(parameter_shapes(LanguageModel(pretrained.config, jnp.dtype("float32"))))[0]


def own_tokens(values_RxLxX: jax.Array, batch: Any, slots: list[tuple[int, int]]) -> np.ndarray:
    """Returns the values at the tokens of each prompt and its response, in the order of the examples."""
    values = np.asarray(values_RxLxX)
    segments, prompt_segments = np.asarray(batch.segments_RxL), np.asarray(batch.prompt_segments_RxL)
    length, found = segments.shape[1], {}
    for n, slot in enumerate(slots):
        row, last = divmod(int(batch.responses.score_index_N[n]), length)
        response = segments[row, last]
        prompt = prompt_segments[row, last]
        found[slot] = values[row, (segments[row] == prompt) | (segments[row] == response)]
    return np.concatenate([found[slot] for slot in sorted(found)])
