"""Pretraining of the embedded language models, from random weights to a folder in the format of Hugging Face."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rmjax.data.gold.lessons import JUDGED, LM_COEF, READING, STAGES, judgements, lessons
from rmjax.data.token_cache import cached_bpe
from rmjax.data.tokenizer import Tokenizer
from rmjax.models.transformer import LanguageModel
from rmjax.parallel.layout import make_layout
from rmjax.scoring.batched_forward import BatchedForward
from rmjax.scoring.checkpoint import find_checkpoint, load_params, load_tokenizer
from rmjax.scoring.contract import read_contract
from rmjax.scoring.hub import check_output, export_language_model
from rmjax.scoring.language_model import load_language_model
from rmjax.stages.datasets import fingerprint, training_texts
from rmjax.stages.minimal_edits import edit_accuracy
from rmjax.stages.reward import train_reward_model
from rmjax.stages.sft import train_language_model
from rmjax.training.run import write_json

# width, layers, heads, MLP width
SIZES = {
    "tiny": (48, 4, 3, 128),
    "mini": (64, 4, 4, 176),
    "small": (96, 4, 6, 256),
    "medium": (144, 4, 9, 384),
}
HEAD_DIM = 16
VOCABULARY = 1280
POSITIONS = 1024
JUDGEMENTS = 72_000  # judgements that the tokenizer is trained on
DIGESTED = 500  # texts of a stage whose digest is stated
ORIGIN = "origin.json"  # how a model was made


def pretrain(
    size: str, output: Path, workdir: Path, configuration: Callable[[str], Any], seed: int = 0, texts: int = 0
) -> None:
    """Trains a language model on all stages of lessons, one after the other, and writes it.

    The last stage trains a reward model, and the language model with it (preference model pretraining, 2112.00861,
    section 4). Its trunk is the language model that is written.

    Args:
        size: a key of `SIZES`.
        output: the folder to write, new or empty.
        workdir: the folder of the runs of the stages; a run that is finished is not trained again.
        configuration: NAME:VARIANT -> the fields of configs/NAME.py, which the stages change.
        seed: of initial weights and data order.
        texts: the number of texts of each stage; 0: those of `STAGES`.

    Raises:
        InputError: the output folder holds files, or a run cannot go on.
    """
    check_output(output)
    tokenizer = workdir / "tokenizer"
    if not tokenizer.is_dir():
        read = [text for name in READING for text in training_texts(lessons(name, texts), [])]
        drawn = [*read, *training_texts([], judgements(texts or JUDGEMENTS))]
        Tokenizer(cached_bpe(drawn, VOCABULARY), max_prompt=2, max_response=1).save(tokenizer)

    def stage(page: str, name: str, init: str) -> dict[str, Any]:
        fields = configuration(page).to_dict()
        fields |= {"seed": seed, "init": init}
        fields["data"] |= {"train": f"lessons/{name}" + (f"[:{texts}]" if texts else ""), "holdout": 0.01}
        fields["train"] |= {"batch_size": STAGES[name].batch, "epochs": 1}
        # The rate falls with the square root of the width.
        narrower = math.sqrt(SIZES["small"][0] / SIZES[size][0])
        fields["train"]["optimizer"]["learning_rate"] = STAGES[name].learning_rate * narrower
        print(f"{name}:")
        return fields

    init = "random"
    for name in READING:
        fields = stage("sft:scratch", name, init)
        fields["model"] |= trunk_fields(size)
        fields["tokenizer"] |= {"path": str(tokenizer) if init == "random" else "", "vocab_size": VOCABULARY}
        train_language_model(fields, workdir / name)
        init = str(workdir / name)
    fields = stage("helpful:scratch", JUDGED, init)
    fields["model"] |= trunk_fields(size)
    fields["tokenizer"]["vocab_size"] = VOCABULARY
    fields["data"]["eval"] = "holdout:1%"
    fields["loss"]["lm_coef"] = LM_COEF
    train_reward_model(fields, workdir / JUDGED)
    write_language_model(workdir / JUDGED, output)
    origin = {
        "size": size,
        "seed": seed,
        "texts": texts,
        "stages": recipe(),
        "lessons": {name: lessons_digest(name) for name in STAGES},
        "minimal_edits": measured(output, seed),
    }
    write_json(output / ORIGIN, origin)


def trunk_fields(size: str) -> dict[str, Any]:
    """Returns the fields of config.model for a size."""
    width, layers, heads, mlp_width = SIZES[size]
    return {
        "width": width,
        "layers": layers,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": HEAD_DIM,
        "mlp_width": mlp_width,
        "embedding_scale": math.sqrt(width),  # with embeddings of the usual size, copying does not form
    }


def recipe() -> dict[str, Any]:
    """Returns what the stages are made of, as `origin.json` states it."""
    return {name: stage._asdict() for name, stage in STAGES.items()} | {"lm_coef": LM_COEF}


def measured(folder: Path, seed: int) -> dict[str, Any]:
    """Returns and prints how often the language model in a folder prefers right answers to minimal edits."""
    model = load_language_model(folder)
    forward = BatchedForward(LanguageModel(model.config, model.dtype), model.layout)
    return edit_accuracy(model.params, forward, model.tokenizer, seed)


def lessons_digest(name: str) -> str:
    """Returns a sha256 over the first texts of a stage."""
    drawn = judgements(DIGESTED) if name == JUDGED else lessons(name, DIGESTED)
    return fingerprint(drawn)["sha256"]


def write_language_model(run: Path, output: Path) -> None:
    """Writes the trunk of a run as a language model in the format of Hugging Face's Llama.

    Llama does not scale its embeddings, so the scale becomes part of the table, and the output layer has a table of
    its own.
    """
    checkpoint = find_checkpoint(run)
    contract = read_contract(checkpoint / "contract.json")
    params = load_params(checkpoint, contract, make_layout(layout="pmap", devices=1))
    table = np.asarray(params["trunk"]["embedding"]["embedding"])
    scaled = {"embedding": table * np.float32(contract.trunk.embedding_scale)}
    params = {
        "trunk": {**params["trunk"], "embedding": scaled},
        "output": {"kernel": table.T},
    }
    trunk = dataclasses.replace(contract.trunk, embedding_scale=1.0, tie_embeddings=False, max_positions=POSITIONS)
    export_language_model(trunk, load_tokenizer(checkpoint, contract), params, output, "float32")
