"""Checks of the model class that a checkpoint's config.json names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmjax.errors import InputError
from rmjax.models.families.family import Family


def class_name(fields: Mapping[str, Any]) -> str:
    """Returns the model class that a config.json names: that of its custom code, or its first architecture."""
    listed = fields.get("architectures")
    named = [*_own_code(fields), *(listed if isinstance(listed, list) else ())]
    return str(named[0]) if named else "unnamed"


def _own_code(fields: Mapping[str, Any]) -> list[str]:
    """Returns the model classes that `auto_map` takes from code in the checkpoint. That code is never run here."""
    auto_map = fields.get("auto_map")
    items = auto_map.items() if isinstance(auto_map, dict) else ()
    return [str(path).rpartition(".")[2] for auto, path in items if auto.startswith("AutoModel")]


def warn_of_another_class(hf: Any, family: Family, folder: Path, *, scores: bool) -> None:
    """Warns on standard error if an unknown class is read as one of transformers' own, with its head if it `scores`."""
    name = class_name(vars(hf))
    if _own_code(vars(hf)) or not (name == "unnamed" or family.owns(name)):
        read_as = family.classes[1 if scores else 0] or family.classes[1]
        print(
            f"warning: {folder}/config.json names the class {name}, which is read as {read_as}: pooling, head or "
            "attention of another kind is left out, so compare some scores with those of its own code",
            file=sys.stderr,
        )


def check_whole(folder: Path) -> None:
    """Raises InputError for an adapter, which holds only changes to another model's weights."""
    if (folder / "adapter_config.json").is_file() and not any(folder.glob("model*.safetensors")):
        raise InputError(
            f"{folder} holds an adapter (adapter_config.json), not a whole model: merge it into its base model with "
            "peft's merge_and_unload() and save the result with save_pretrained"
        )


def check_causal(hf: Any, folder: Path) -> None:
    """Raises InputError if a decoder's config.json asks for bidirectional attention."""
    for field, needed in (("is_causal", True), ("use_bidirectional_attention", False)):
        found = getattr(hf, field, None)
        if found is not None and bool(found) is not needed:
            raise InputError(
                f"{folder}/config.json says {field} = {found} (class {class_name(vars(hf))}): with {hf.model_type} "
                "only causal attention is supported, so use a model that was trained with it"
            )
