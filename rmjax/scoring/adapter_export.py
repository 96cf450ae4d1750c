"""Export of adapters as a folder that PEFT opens on the pretrained model that they were trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from rmjax.errors import InputError
from rmjax.models.families import find_family
from rmjax.models.families.family import Family, Fused, source_of
from rmjax.models.lora import A, B, Lora
from rmjax.scoring.hub import check_head, check_output
from rmjax.scoring.reward_model import RewardModel

README = """---
base_model: {base}
library_name: peft
pipeline_tag: text-classification
---
Low-rank adapters and the head `{head}` of a reward model, trained with rmjax.

```python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("{base}", num_labels=1)
model = PeftModel.from_pretrained(model, FOLDER).eval()
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
```

Score one text at a time, or set `model.config.pad_token_id` to an id that no text ends with: the class reads the last
token that is not padding.
"""


def export_adapter(model: RewardModel, output: Path, *, head: str | None, dtype: str) -> None:
    """Writes adapter_config.json, the weights of the adapters and of one head, and the tokenizer.

    Args:
        model: a reward model with adapters, whose weights began as those of a Hugging Face checkpoint.
        output: a folder that does not exist yet, or is empty.
        head: the exported head; None if the model has one head.
        dtype: `float32` or `bfloat16`.

    Raises:
        InputError: the model has no adapters, PEFT cannot express them, or `output` holds files.
    """
    from safetensors.numpy import save_file

    contract = model.contract
    head, lora, base = model.pick_head(head), contract.trunk.lora, contract.data["start"]
    if lora is None:
        raise InputError("the model has no adapters: train it with --config.lora.rank=16, or export it without them")
    if base == "random" or " -> " in base:
        raise InputError(
            f"the weights under the adapters ({base}) are not those of a Hugging Face checkpoint, which PEFT would "
            "need: export the whole model"
        )
    if contract.trunk.pooler:
        raise InputError(
            "the layer before the head is trained too, and a folder for PEFT lacks it: export the whole model"
        )
    check_head(contract.head, contract.trunk)
    check_output(output)
    family = find_family(contract.trunk.family)
    params = model.layout.unreplicate(model.params)
    config = _config(family, lora, base)
    output.mkdir(parents=True, exist_ok=True)
    (output / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = {
        name: np.ascontiguousarray(x.astype(np.dtype(dtype))) for name, x in _tensors(family, params, head).items()
    }
    save_file(weights, output / "adapter_model.safetensors", metadata={"format": "pt"})
    model.tokenizer.save(output)
    (output / "README.md").write_text(README.format(base=base, head=head), encoding="utf-8")


def _config(family: Family, lora: Lora, base: str) -> dict[str, Any]:
    """Returns the fields of adapter_config.json."""
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": not family.transposed,
        "inference_mode": True,
        "target_modules": sorted(
            {_module(family, path) for path in family.modules if path.rpartition("/")[2] in lora.targets}
        ),
        "modules_to_save": [family.head],
    }


def _module(family: Family, path: str) -> str:
    """Returns the last part of the name of a linear map, which PEFT looks for."""
    theirs = family.modules[path]
    if isinstance(theirs, Fused):
        raise InputError(
            f"{family.model_type} keeps queries, keys and values in one matrix ({theirs.module}), for which PEFT has "
            "one adapter instead of three: export the whole model"
        )
    return theirs.rpartition(".")[2]


def _tensors(family: Family, params: Any, head: str) -> dict[str, np.ndarray]:
    """Returns every tensor with its name in PEFT."""
    found = {}
    for path, value in flatten_dict(params, sep="/").items():
        layer, _, leaf = path.rpartition("/")
        if leaf in (A, B):
            name = source_of(family, f"{layer}/kernel").name.removesuffix("weight")
            for number, matrix in enumerate(np.asarray(value)):
                found[f"base_model.model.{name.format(number)}lora_{leaf[-1].upper()}.weight"] = matrix.T
        elif path == f"reward/{head}":
            found[f"base_model.model.{family.head}.weight"] = np.asarray(value)[None]
        elif path == f"reward/{head}.bias":
            found[f"base_model.model.{family.head}.bias"] = np.asarray(value)[None]
    return found
