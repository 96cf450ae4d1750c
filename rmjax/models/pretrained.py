"""Hugging Face checkpoints -> parameters: safetensors only, tensor by tensor, every name accounted for."""

from __future__ import annotations

import dataclasses
import functools
import json
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
from rmjax.models.classes import check_causal, check_whole, class_name, warn_of_another_class
from rmjax.models.config import TransformerConfig
from rmjax.models.families import find_family
from rmjax.models.families.family import Family, source_of, split_fused

# What is fetched of a hub repository: no pickled weights, no code.
FILES = (
    "config.json",
    "adapter_config.json",  # which tells that the weights are no whole model
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)
# Tables that old versions of transformers stored beside the weights; they follow from the configuration.
BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids|(attn|attention)\.(masked_)?bias)$")

# Weights that are refused: reading them can run code.
PICKLES = ("*.bin", "*.pt*")

Place = Callable[[str, np.ndarray], jax.Array]


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A Hugging Face checkpoint, opened: its configuration read, its tensors listed, nothing loaded yet.

    Attributes:
        folder: where its files lie.
        family: how its tensors are named.
        config: its trunk.
        hf: its configuration as transformers reads it.
        tensors: every tensor's name -> the file that holds it, and its name there.
        labels: names of its sequence-classification head's outputs; empty where it has no such head.
    """

    folder: Path
    family: Family
    config: TransformerConfig
    hf: Any
    tensors: Mapping[str, tuple[Path, str]]
    labels: tuple[str, ...]

    def load(
        self,
        shapes: Any,
        *,
        heads: Sequence[str] = (),
        dtype: jnp.dtype | None = None,
        place: Place = lambda path, array: jax.device_put(array),
    ) -> tuple[dict[str, Any], list[str]]:
        """Parameters for the tree `shapes`, read one at a time.

        Args:
            shapes: what `module.init` would give, as shapes; the parts it names are looked for.
            heads: names of the reward heads, in the order of the checkpoint's labels.
            dtype: of the parameters; None keeps each as it is stored.
            place: path and array -> where it shall live, as `jax.device_put` with the sharding of that path.

        Returns:
            The parameters by part, without heads that the checkpoint lacks, and the names of tensors left behind.

        Raises:
            InputError: a tensor of the trunk is missing, unexpected, of another shape, or unreadable.
        """
        wanted = flatten_dict(shapes, sep="/")
        sources = {path: self._sources(path, heads) for path in wanted}
        used = {name for names in sources.values() for name in names}
        self._check_names(used)
        loaded = {}
        for path, shape in wanted.items():
            if sources[path]:
                array = self._assemble(path, sources[path], heads, shape.shape, dtype)
                # Waited for, so that the host never holds several parameters that are on their way.
                loaded[path] = jax.block_until_ready(place(path, array))
        left = sorted(name for name in self.tensors.keys() - used if self._is_head(name))
        return unflatten_dict(loaded, sep="/"), left

    @functools.cached_property
    def bare(self) -> bool:
        """Whether the trunk's tensors stand without a prefix, as a model without any head is stored."""
        return not any(name.startswith(self.family.prefix) for name in self.tensors)

    @property
    def named(self) -> str:
        """The class that config.json names, for messages."""
        return class_name(vars(self.hf))

    def beyond(self, shapes: Any) -> list[str]:
        """Names of the tensors that are no part of the tree `shapes`, as a head of another kind."""
        used = {name for path in flatten_dict(shapes, sep="/") for name in self._sources(path, ())}
        return sorted(name for name in self.tensors.keys() - used if not BUFFERS.search(name))

    def _sources(self, path: str, heads: Sequence[str]) -> list[str]:
        """Names of the tensors that a parameter is made of, one for each layer; none where it starts afresh."""
        part, _, rest = path.partition("/")
        if part == "reward":
            leaf = "bias" if rest.endswith(".bias") else "weight"
            return [f"{self.family.head}.{leaf}"] if len(self.labels) == len(heads) else []
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
        """Whether a tensor belongs to a head of some task, not to the trunk."""
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
        """One parameter, stacked over layers where it has one for each, in memory of its own."""
        result: np.ndarray | None = None
        for layer, name in enumerate(names):
            file, stored = self.tensors[name]
            # Opened anew for each tensor: a file is mapped, and what was read of it stays in memory while it is open.
            tensor = _open(file).get_tensor(stored)
            if path.startswith("reward/"):
                self._check_shape(name, tensor.shape, (len(heads), *shape))
                tensor = tensor[list(heads).index(path.removeprefix("reward/").removesuffix(".bias"))]
            else:
                source = source_of(self.family, path)
                if source.fused:
                    by_head, three = source.fused.by_head, 3 * self.config.width
                    whole = (three, *tensor.shape[1:]) if by_head else (*tensor.shape[:-1], three)
                    self._check_shape(name, tensor.shape, whole)
                    tensor = split_fused(tensor, source.fused.part, self.config.heads, by_head=by_head)
                if source.transposed:
                    tensor = tensor.T
            stacked = path.startswith("trunk/blocks/")
            self._check_shape(name, tensor.shape, shape[1:] if stacked else shape)
            if result is None:
                result = _empty(shape, np.dtype(dtype or tensor.dtype))
            result[layer if stacked else ...] = tensor
        return result

    def _check_shape(self, name: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise InputError(
                f"{self.folder}: the tensor {name!r} has the shape {found}, its config.json says {expected}"
            )


def open_pretrained(name: str, path: str = "") -> Pretrained:
    """Opens a checkpoint of Hugging Face format.

    Args:
        name: a hub id, or a local folder.
        path: a local folder that is used in its place; empty for none.

    Raises:
        InputError: it cannot be had, has no config.json or no safetensors, is an adapter, or its architecture is
            unknown here.
    """
    folder = locate(name, path)
    check_whole(folder)
    hf = read_config(folder)
    family = find_family(hf.model_type)
    if getattr(hf, "quantization_config", None):
        raise InputError(f"{folder} is quantized: use the full weights")
    fields = family.read(hf)
    config = TransformerConfig(family=family.model_type, **fields)
    if config.causal:
        check_causal(hf, folder)
    tensors = list_tensors(folder)
    labels = tuple(hf.id2label[i] for i in range(hf.num_labels)) if f"{family.head}.weight" in tensors else ()
    warn_of_another_class(hf, family, folder, scores=bool(labels))
    return Pretrained(folder, family, config, hf, tensors, labels)


def locate(name: str, path: str = "") -> Path:
    """The local folder of a checkpoint, fetched from the hub where it is not yet on this machine.

    Raises:
        InputError: neither a folder nor to be had from the hub.
    """
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    if not (path or name):
        raise InputError("no checkpoint is named: model.pretrained takes a hub id or a folder, model.path a folder")
    folder = Path(path or name)
    if folder.is_dir():
        return folder
    if path:
        raise InputError(f"there is no folder {path}: model.path names the local copy of {name}")
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError, HFValidationError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"the weights of {name} are not on this machine and could not be fetched ({reason}): run `hf download "
            f"{name}` where there is a network, or give a local folder with --config.model.path=FOLDER"
        ) from None


def read_config(folder: Path) -> Any:
    """The checkpoint's config.json as transformers understands it; no code of the checkpoint is run.

    Raises:
        InputError: missing, unreadable, or of an unknown architecture.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model_type = str(record["model_type"])
    except OSError:
        raise InputError(
            f"{folder} has no config.json: give a folder that save_pretrained wrote, or a run of rmjax"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder}/config.json is not a model's configuration: it states no model_type") from None
    find_family(model_type, f" (class {class_name(record)} in {folder}/config.json)")
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (StrictDataclassError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise InputError(f"transformers refuses {folder}/config.json ({reason}): is it the checkpoint's own?") from None


def list_tensors(folder: Path) -> dict[str, tuple[Path, str]]:
    """The checkpoint's tensors: name -> the file that holds it and its name there.

    Early BERT checkpoints call the weight and bias of a norm gamma and beta.

    Raises:
        InputError: there is no safetensors file, a listed one is missing, or one is cut short.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = sorted({folder / file for file in places.values()})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{index} does not list tensors and their files: fetch it again") from None
    else:
        files = sorted(folder.glob("model*.safetensors"))
    if not files:
        pickled = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
        found = f" (only {pickled[0]}, which is pickled and could run code)" if pickled else ""
        raise InputError(
            f"{folder} holds no model.safetensors{found}: write one with save_pretrained in a recent transformers"
        )
    stored = [(path, name) for path in files for name in sorted(_open(path).keys())]
    return {re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name)): (path, name) for path, name in stored}


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np")
    except FileNotFoundError:
        raise InputError(f"{path} is missing, though the checkpoint's index names it: fetch it again") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or cut short ({error}): fetch it again") from None


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory to be filled. At a multiple of 64 bytes a CPU device takes it over, where it would copy any other."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
