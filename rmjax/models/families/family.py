"""Description of a family: names of its modules, and its config.json in both directions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig

# Hugging Face's names of activations -> ours.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
}


class Fused(NamedTuple):
    """One third of a module that holds queries, keys and values together.

    Attributes:
        module: its name.
        part: 0 for queries, 1 keys, 2 values.
        by_head: the parts alternate head by head along the outputs (GPT-NeoX), else they are concatenated.
    """

    module: str
    part: int
    by_head: bool


@dataclasses.dataclass(frozen=True)
class Family:
    """A name table and two translations of config.json.

    Tensors are named by module: our leaf `kernel`, `scale` or `embedding` is its `.weight`, our `bias` its `.bias`.

    Attributes:
        model_type: its name in config.json.
        classes: names of its (causal language model, sequence classification) classes; None for no such class.
        prefix: prefix of the trunk's names in the classes with a head.
        modules: module path in our trunk -> its name there; those of blocks contain `{}` for the layer.
        head: name of the sequence-classification head.
        output: name of the language model's output layer.
        pooler: name of the layer before the head, with its prefix, if any; None for no such layer.
        others: prefixes of tensors that belong to heads of other tasks and are not loaded.
        transposed: kernels are stored as [outputs, inputs], as torch.nn.Linear does.
        read: a transformers configuration -> fields of `TransformerConfig`.
        write: a `TransformerConfig` -> fields of the transformers configuration.
    """

    model_type: str
    classes: tuple[str | None, str]
    prefix: str
    modules: Mapping[str, str | Fused]
    head: str
    output: str | None
    pooler: str | None
    others: tuple[str, ...]
    transposed: bool
    read: Callable[[Any], dict[str, Any]]
    write: Callable[[TransformerConfig], dict[str, Any]]

    def owns(self, name: str) -> bool:
        """Returns True for a class of transformers on this trunk, whose weights have the same meaning here."""
        stem = self.classes[1].removesuffix("ForSequenceClassification")
        return name in self.classes or name in {stem + task for task in ("Model", "ForMaskedLM", "ForPreTraining")}


class Source(NamedTuple):
    """The tensor that one of our parameters is read from.

    Attributes:
        name: of the tensor, in the classes with a head; with `{}` for the layer if the parameter stacks all layers.
        fused: the third of the tensor that is used; None for the whole tensor.
        transposed: True if the two axes are swapped.
    """

    name: str
    fused: Fused | None
    transposed: bool


# Our names of leaves -> theirs.
LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}


def source_of(family: Family, path: str) -> Source:
    """Returns the tensor of a parameter of the trunk, output layer or pooler, by its path (`trunk/norm/scale`)."""
    part, *modules, leaf = path.split("/")
    theirs = {"output": family.output, "pooler": family.pooler}.get(part) or family.modules["/".join(modules)]
    fused = theirs if isinstance(theirs, Fused) else None
    inside = part == "trunk"
    name = f"{family.prefix if inside else ''}{fused.module if fused else theirs}.{LEAVES[leaf]}"
    return Source(name, fused, leaf == "kernel" and (family.transposed or not inside))


def split_fused(tensor: np.ndarray, part: int, heads: int, *, by_head: bool) -> np.ndarray:
    """Returns one third of a fused tensor `[H * 3 * C, ...]` by head, else `[..., 3 * H * C]`."""
    if not by_head:
        return np.split(tensor, 3, axis=-1)[part]
    grouped = tensor.reshape(heads, 3, -1, *tensor.shape[1:])[:, part]
    return grouped.reshape(-1, *tensor.shape[1:])


def join_fused(parts: list[np.ndarray], heads: int, *, by_head: bool) -> np.ndarray:
    """Inverse of `split_fused`, from all three parts."""
    if not by_head:
        return np.concatenate(parts, axis=-1)
    grouped = [part.reshape(heads, -1, *part.shape[1:]) for part in parts]
    return np.stack(grouped, axis=1).reshape(-1, *parts[0].shape[1:])


def activation(name: str) -> str:
    """Returns our name of an activation.

    Raises:
        InputError: the activation is unknown.
    """
    if name not in ACTIVATIONS:
        raise InputError(f"unsupported activation {name!r} in config.json: known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


# Our names of activations -> theirs.
WRITTEN = {"silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


def require(found: Any, needed: Any, what: str) -> None:
    """Raises InputError unless a field of config.json has the only value that is supported."""
    if found != needed:
        raise InputError(f"unsupported config.json: {what} is {found!r}, only {needed!r} is known here")
