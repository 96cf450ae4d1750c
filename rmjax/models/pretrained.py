"""Parameters from Hugging Face checkpoints: safetensors only, tensor by tensor.

Every tensor must be a parameter, a head of some task, or a known buffer. Any other name is an error.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rmjax.errors import InputError
from rmjax.models.checkpoint_files import list_tensors, locate, open_safetensors, read_config
from rmjax.models.classes import check_causal, check_whole, class_name, warn_of_another_class
from rmjax.models.config import TransformerConfig
from rmjax.models.families import find_family
from rmjax.models.families.family import Family, source_of, split_fused
from rmjax.models.families.heads import find_head

# Tables that old versions of transformers stored with the weights. The configuration determines them.
BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids|(attn|attention)\.(masked_)?bias)$")

PutParam = Callable[[str, np.ndarray], jax.Array]


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """An open Hugging Face checkpoint: configuration and list of tensors, with no tensor loaded.

    Attributes:
        folder: the folder of its files.
        family: the names of its tensors.
        config: settings of its trunk.
        hf: its configuration as an object of transformers.
        tensors: name of every tensor -> its file, and its name there.
        labels: names of the outputs of its sequence-classification head; empty without such a head.
        row: the row of the head's matrix that is the one score; None if every row is a score.
    """

    folder: Path
    family: Family
    config: TransformerConfig
    hf: Any
    tensors: Mapping[str, tuple[Path, str]]
    labels: tuple[str, ...]
    row: int | None = None

    def load(
        self,
        shapes: Any,
        *,
        heads: Sequence[str] = (),
        dtype: Callable[[str], jnp.dtype | None] = lambda path: None,
        place: PutParam = lambda path, array: jax.device_put(array),
    ) -> tuple[dict[str, Any], list[str]]:
        """Loads the parameters of the tree `shapes`, one at a time.

        Args:
            shapes: shapes of the parameters that `module.init` returns.
            heads: names of the reward heads, in the order of the checkpoint's labels.
            dtype: path of a parameter -> its dtype; None for the stored one.
            place: (path, array) -> the array on its devices, such as `Layout.put_param`.

        Returns:
            The parameters by part, without heads that the checkpoint lacks, and the names of tensors not loaded.

        Raises:
            InputError: a tensor of the trunk is missing, unexpected, of another shape, unreadable, or holds NaN.
        """
        wanted = flatten_dict(shapes, sep="/")
        sources = {path: self._sources(path, heads) for path in wanted}
        used = {name for names in sources.values() for name in names}
        self._check_names(used)
        loaded = {}
        for path, shape in wanted.items():
            if sources[path]:
                array = self._assemble(path, sources[path], heads, shape.shape, dtype(path))
                # Wait, so that the host never holds several parameters during their transfer.
                loaded[path] = jax.block_until_ready(place(path, array))
            elif path.startswith("reward/") and sources[path.removesuffix(".bias")]:
                # A bias of 0 gives the scores of a checkpoint whose head has no bias.
                loaded[path] = place(path, np.zeros(shape.shape, dtype(path) or shape.dtype))
        left = sorted(name for name in self.tensors.keys() - used if self._is_head(name))
        return unflatten_dict(loaded, sep="/"), left

    def scored_by_logit(self, token: int) -> Pretrained:
        """Returns the same checkpoint with one score: the logit of a token after the text.

        NVIDIA's Nemotron reward models are language models that score so, with token 0 (their model cards).

        Raises:
            InputError: there is no such logit.
        """
        family, config = self.family, self.config
        if family.output is None or self.labels:
            raise InputError(f"{self.folder} is no language model, so no token has a logit: leave out logit={token}")
        if not 0 <= token < config.vocab_size:
            raise InputError(f"logit={token} is no id of the {config.vocab_size} of {self.folder}")
        if config.output_cap:
            raise InputError(f"logit={token}: the logits of {self.folder} are bounded, which no reward here is")
        output = family.output
        if config.tie_embeddings:
            table = source_of(family, "trunk/embedding/embedding").name.removesuffix(".weight")
            output = table.removeprefix(family.prefix) if self.bare else table
        return dataclasses.replace(
            self, family=dataclasses.replace(family, head=output), labels=(f"logit of {token}",), row=token
        )

    @property
    def head_bias(self) -> bool:
        """True if the head has a bias. Transformers' own classifiers of decoders have none, and a stray one is left."""
        own = self.family.head == find_family(self.family.model_type).head
        return f"{self.family.head}.bias" in self.tensors if self.config.causal and not own else not self.config.causal

    @functools.cached_property
    def bare(self) -> bool:
        """True if the names of the trunk's tensors have no prefix, as in a model without a head."""
        return not any(name.startswith(self.family.prefix) for name in self.tensors)

    @property
    def named(self) -> str:
        """The class that config.json names, for messages."""
        return class_name(vars(self.hf))

    def beyond(self, shapes: Any) -> list[str]:
        """Returns the names of tensors outside the tree `shapes`, such as a head of another kind."""
        used = {name for path in flatten_dict(shapes, sep="/") for name in self._sources(path, ())}
        return sorted(name for name in self.tensors.keys() - used if not BUFFERS.search(name))

    def _sources(self, path: str, heads: Sequence[str]) -> list[str]:
        """Returns the names of the tensors of a parameter, one per layer; none if it must be initialized."""
        part, _, rest = path.partition("/")
        if part == "reward":
            leaf = "bias" if rest.endswith(".bias") else "weight"
            name = f"{self.family.head}.{leaf}"
            return [name] if len(self.labels) == len(heads) and (leaf == "weight" or name in self.tensors) else []
        name = source_of(self.family, path).name
        if self.bare:
            name = name.removeprefix(self.family.prefix)
        if part == "pooler" and name not in self.tensors:
            return []
        return [name.format(layer) for layer in range(self.config.layers)] if "{}" in name else [name]

    def _check_names(self, used: set[str]) -> None:
        missing = sorted(used - self.tensors.keys())
        if missing:
            raise InputError(
                f"{self.folder} lacks the tensor {missing[0]!r}{_more(missing)}: does its config.json belong to it?"
            )
        unexpected = sorted(
            name for name in self.tensors.keys() - used if not self._is_head(name) and not BUFFERS.search(name)
        )
        if unexpected:
            raise InputError(
                f"{self.folder} holds the tensor {unexpected[0]!r}{_more(unexpected)}, which a "
                f"{self.family.model_type} trunk of its config.json (class {self.named}) does not have: save it "
                "without them"
            )

    def _is_head(self, name: str) -> bool:
        """Returns True if a tensor belongs to a head of some task, not to the trunk."""
        family = self.family
        pooler = family.pooler or "-"
        heads = [family.head, family.output or "-", pooler, pooler.removeprefix(family.prefix)]
        return name.rpartition(".")[0] in heads or name.startswith(family.others or ("-",))

    def _assemble(
        self,
        path: str,
        names: Sequence[str],
        heads: Sequence[str],
        shape: tuple[int, ...],
        dtype: jnp.dtype | None,
    ) -> np.ndarray:
        """Returns one parameter in new memory, stacked over layers if there is one tensor per layer."""
        result: np.ndarray | None = None
        for layer, name in enumerate(names):
            file, stored = self.tensors[name]
            # Opened again for each tensor: the file is memory-mapped, and pages stay in memory while it is open.
            tensor = self._read(file, stored)
            if path.startswith("reward/"):
                rows = len(heads) if self.row is None else self.config.vocab_size
                self._check_shape(name, tensor.shape, (rows, *shape))
                own = list(heads).index(path.removeprefix("reward/").removesuffix(".bias"))
                tensor = tensor[own if self.row is None else self.row]
            else:
                source = source_of(self.family, path)
                if source.fused:
                    by_head, fused = source.fused.by_head, 3 * self.config.width
                    whole = (fused, *tensor.shape[1:]) if by_head else (*tensor.shape[:-1], fused)
                    self._check_shape(name, tensor.shape, whole)
                    tensor = split_fused(tensor, source.fused.part, self.config.heads, by_head=by_head)
                if source.transposed:
                    tensor = tensor.T
            stacked = path.startswith("trunk/blocks/")
            self._check_shape(name, tensor.shape, shape[1:] if stacked else shape)
            if result is None:
                result = _empty(shape, np.dtype(dtype or tensor.dtype))
            result[layer if stacked else ...] = tensor
        assert result is not None  # every parameter has at least one tensor
        return result

    def _read(self, file: Path, name: str) -> np.ndarray:
        """Returns a tensor of a file; numbers that are not finite are an error."""
        tensor = open_safetensors(file).get_tensor(name)
        if not np.isfinite(tensor).all():
            raise InputError(f"{file}: the tensor {name!r} holds NaN or infinite numbers: fetch it again")
        return tensor

    def _check_shape(self, name: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise InputError(
                f"{self.folder}: the tensor {name!r} has the shape {found}, its config.json says {expected}"
            )


def open_pretrained(name: str, path: str = "") -> Pretrained:
    """Opens a checkpoint of Hugging Face format.

    Args:
        name: a hub id, or a local folder.
        path: a local folder to use instead; empty for none.

    Raises:
        InputError: it cannot be found, has no config.json or no safetensors, is an adapter, or has an unknown
            architecture.
    """
    folder = locate(name, path)
    check_whole(folder)
    hf = read_config(folder)
    family = find_family(hf.model_type)
    if getattr(hf, "quantization_config", None):
        raise InputError(f"{folder} is quantized: use the full weights")
    try:
        config = TransformerConfig(family=family.model_type, **family.read(hf))
        names = tuple(str(hf.id2label[i]) for i in range(hf.num_labels))
    except InputError as error:
        raise InputError(f"{folder}/config.json: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{folder}/config.json does not describe a {family.model_type} model ({reason})") from None
    if config.causal:
        check_causal(hf, folder)
    tensors = list_tensors(folder)
    family, config = find_head(family, config, tensors)
    labels = _labels(family, names, tensors)
    warn_of_another_class(hf, family, folder, scores=bool(labels))
    return Pretrained(folder, family, config, hf, tensors, labels)


def _labels(family: Family, names: tuple[str, ...], tensors: Mapping[str, tuple[Path, str]]) -> tuple[str, ...]:
    """Returns the names of the outputs of the head; none without a head.

    A custom class may not state its labels. Then they have the default names of transformers: LABEL_0, LABEL_1, ....
    """
    name = f"{family.head}.weight"
    if name not in tensors or family.head == find_family(family.model_type).head:
        return names if name in tensors else ()
    file, stored = tensors[name]
    outputs = open_safetensors(file).get_slice(stored).get_shape()[0]
    return names if len(names) == outputs else tuple(f"LABEL_{i}" for i in range(outputs))


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns uninitialized memory, aligned to 64 bytes so that a CPU device uses it without a copy."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
