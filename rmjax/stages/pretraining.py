"""Pretraining of the embedded language models, from random weights to a folder in the format of Hugging Face."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rmjax.data.gold.lessons import STAGES, lessons
from rmjax.data.token_cache import cached_bpe
from rmjax.data.tokenizer import Tokenizer
from rmjax.parallel.layout import make_layout
from rmjax.scoring.checkpoint import find_checkpoint, load_params, load_tokenizer
from rmjax.scoring.contract import read_contract
from rmjax.scoring.hub import check_output, export_language_model
from rmjax.stages.datasets import fingerprint, training_texts
from rmjax.stages.sft import train_language_model
from rmjax.training.run import RunDirectory, write_json

# width, layers, heads, MLP width
SIZES = {"tiny": (48, 4, 3, 128), "small": (96, 4, 6, 256), "medium": (192, 4, 12, 512)}
HEAD_DIM = 16
VOCABULARY = 1280
POSITIONS = 1024
DIGESTED = 500  # texts of a stage whose digest is stated
ORIGIN = "origin.json"  # how a model was made


def pretrain(size: str, output: Path, workdir: Path, config: Mapping[str, Any], texts: int = 0) -> None:
    """Trains a language model on all stages of lessons, one after the other, and writes it.

    Args:
        size: a key of `SIZES`.
        output: the folder to write, new or empty.
        workdir: the folder of the runs of the stages; a run that is finished is not trained again.
        config: the fields of configs/sft.py:scratch, which the stages change.
        texts: the number of texts of each stage; 0: those of `STAGES`.

    Raises:
        InputError: the output folder holds files, or a run cannot go on.
    """
    check_output(output)
    width, layers, heads, mlp_width = SIZES[size]
    tokenizer = workdir / "tokenizer"
    if not tokenizer.is_dir():
        drawn = [text for stage in STAGES for text in training_texts(lessons(stage, texts), [])]
        Tokenizer(cached_bpe(drawn, VOCABULARY), max_prompt=2, max_response=1).save(tokenizer)
    init = "random"
    for name, stage in STAGES.items():
        fields = copy.deepcopy(dict(config))
        fields["init"] = init
        fields["data"] |= {"train": f"lessons/{name}" + (f"[:{texts}]" if texts else ""), "holdout": 0.01}
        fields["tokenizer"] |= {"path": str(tokenizer) if init == "random" else "", "vocab_size": VOCABULARY}
        # With embeddings of the usual size, copying does not form.
        fields["model"] |= {"width": width, "layers": layers, "heads": heads, "kv_heads": heads, "head_dim": HEAD_DIM}
        fields["model"] |= {"mlp_width": mlp_width, "embedding_scale": math.sqrt(width)}
        fields["train"] |= {"batch_size": 32, "epochs": 1}
        # The rate falls with the square root of the width.
        fields["train"]["optimizer"]["learning_rate"] = stage.learning_rate * math.sqrt(SIZES["small"][0] / width)
        print(f"{name}:")
        train_language_model(fields, workdir / name)
        init = str(workdir / name)
    write_folded(Path(init), output)
    origin = {
        "size": size,
        "seed": config["seed"],
        "texts": texts,
        "lessons": {name: lessons_digest(name) for name in STAGES},
        "minimal_edits": RunDirectory(init, fields).read_evaluation()["minimal_edits"],
    }
    write_json(output / ORIGIN, origin)


def lessons_digest(stage: str) -> str:
    """Returns a sha256 over the first texts of a stage."""
    return fingerprint(lessons(stage, DIGESTED))["sha256"]


def write_folded(run: Path, output: Path) -> None:
    """Writes the language model of a run in the format of Hugging Face's Llama.

    Llama does not scale its embeddings, so the scale becomes part of the table, and the output layer has its own.
    """
    checkpoint = find_checkpoint(run)
    contract = read_contract(checkpoint / "contract.json")
    params = load_params(checkpoint, contract, make_layout(layout="pmap", devices=1))
    table = np.asarray(params["trunk"]["embedding"]["embedding"])
    params = {
        "trunk": {**params["trunk"], "embedding": {"embedding": table * np.float32(contract.trunk.embedding_scale)}},
        "output": {"kernel": table.T},
    }
    trunk = dataclasses.replace(contract.trunk, embedding_scale=1.0, tie_embeddings=False, max_positions=POSITIONS)
    export_language_model(trunk, load_tokenizer(checkpoint, contract), params, output, "float32")
