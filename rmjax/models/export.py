"""Export of parameters to a Hugging Face checkpoint, without torch: the inverse of `pretrained`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from rmjax.errors import InputError
from rmjax.models.config import TransformerConfig
from rmjax.models.families import find_family
from rmjax.models.families.family import join_fused, source_of

# Largest file of weights, in bytes; larger weights are divided into several files.
SHARD_BYTES = 5 * 10**9


def write_pretrained(
    folder: Path,
    config: TransformerConfig,
    params: Any,
    *,
    head: str | None,
    dtype: np.dtype,
    fields: Mapping[str, Any],
) -> None:
    """Writes config.json and the weights in safetensors.

    Args:
        folder: the output folder, created if needed.
        config: settings of the trunk.
        params: of `RewardTransformer`, or of `LanguageModel`.
        head: the reward head that becomes the one label of the sequence classifier; None for a language model.
        dtype: of the weights.
        fields: further fields of config.json, such as pad_token_id.

    Raises:
        InputError: the family has no language model.
    """
    family = find_family(config.family)
    kind = family.classes[0 if head is None else 1]
    if kind is None:
        raise InputError(f"{config.family} has no causal language model to export")
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(folder, config, kind, head, dtype, fields)
    shards: list[dict[str, np.ndarray]] = [{}]
    for name, tensor in tensors(config, params, head):
        tensor = np.ascontiguousarray(tensor.astype(dtype))
        if shards[-1] and sum(t.nbytes for t in shards[-1].values()) + tensor.nbytes > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = tensor
    _write_shards(folder, shards)


def tensors(config: TransformerConfig, params: Any, head: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yields every tensor of the checkpoint with its name there."""
    family = find_family(config.family)
    fused: dict[str, dict[int, np.ndarray]] = {}
    for path, value in flatten_dict(params, sep="/").items():
        value = np.asarray(value)
        if path.startswith("reward/"):
            name, _, leaf = path.removeprefix("reward/").partition(".")
            if name == head:
                yield f"{family.head}.{leaf or 'weight'}", value[None]
            continue
        source = source_of(family, path)
        layers = value if "{}" in source.name else [value]
        for layer, tensor in enumerate(layers):
            tensor = tensor.T if source.transposed else tensor
            name = source.name.format(layer)
            if not source.fused:
                yield name, tensor
                continue
            thirds = fused.setdefault(name, {})
            thirds[source.fused.part] = tensor
            if len(thirds) == 3:
                del fused[name]
                yield name, join_fused([thirds[part] for part in range(3)], config.heads, by_head=source.fused.by_head)


def _write_config(
    folder: Path, config: TransformerConfig, kind: str, head: str | None, dtype: np.dtype, fields: Mapping[str, Any]
) -> None:
    from transformers import AutoConfig

    labels = {} if head is None else {"num_labels": 1, "id2label": {0: head}, "label2id": {head: 0}}
    written = {**find_family(config.family).write(config), **labels, **fields}
    AutoConfig.for_model(config.family, **written, architectures=[kind], dtype=str(dtype)).save_pretrained(folder)
    path = folder / "config.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    if rope := record.get("rope_parameters"):
        # transformers before version 5 reads these fields, and uses its own default for a missing base.
        record["rope_theta"] = rope["rope_theta"]
        scaling = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
        record["rope_scaling"] = None if rope["rope_type"] == "default" else scaling
        if "partial_rotary_factor" in rope:
            record |= {"rotary_pct": rope["partial_rotary_factor"], "rotary_emb_base": rope["rope_theta"]}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_shards(folder: Path, shards: list[dict[str, np.ndarray]]) -> None:
    from safetensors.numpy import save_file

    def save(shard: dict[str, np.ndarray], file: str) -> None:
        save_file(shard, folder / file, metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", folder / file)  # save_file lets only the owner read

    if len(shards) == 1:
        save(shards[0], "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for i, shard in enumerate(shards, 1):
        file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        save(shard, file)
        weight_map |= dict.fromkeys(shard, file)
    size = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
