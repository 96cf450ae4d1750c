"""The runs that faults are injected into: commands of a few seconds, and what they must leave."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rmjax.parallel.layout import make_layout
from rmjax.scoring.checkpoint import load_tree
from rmjax.scoring.run_checkpoints import list_checkpoints

MODEL = {"width": 8, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 4, "mlp_width": 8}
STAGE = {"batch_size": 8, "epochs": 3, "checkpoint_every": 1, "evaluate_every": 2, "log_every": 1, "keep": 2}
WORDS = ("red", "green", "blue", "seven", "apples", "how", "many", "cats", "tall", "is", "the", "tower")
# Files that state when, where and how a run was made.
NOT_COMPARED = ("environment.json", "run.lock")


def write_data(path: Path) -> None:
    """Writes 40 comparisons."""
    draw = random.Random(0)
    records = [
        {name: " ".join(draw.choices(WORDS, k=size)) for name, size in (("prompt", 4), ("chosen", 5), ("rejected", 3))}
        for _ in range(40)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def reward_model(data: Path, workdir: Path) -> list[str]:
    """Returns the command of a reward-model run whose first stage is SFT: five checkpoints in all."""
    return _command("train.py", "helpful.py:scratch", workdir, _models(data))


def policy(data: Path, workdir: Path) -> list[str]:
    """Returns the command of a PPO run that makes its reward model first: eight checkpoints in all."""
    fields: dict[str, Any] = {
        "data.train": f"jsonl:{data}",
        "data.eval": "holdout:20%",
        "data.holdout": 0.2,
        "data.validation_prompts": 4,
        "data.eval_prompts": 4,
        "rollout.prompts": 2,
        "rollout.max_response": 4,
        "algorithm.samples": 2,
        "algorithm.minibatches": 1,
        "train.max_steps": 3,
        "train.log_every": 1,
        "train.evaluate_every": 1,
        "train.checkpoint_every": 1,
        "stop.cut": 0.0,
        "evaluation.bootstrap": 10,
        **{f"models.{name}": value for name, value in _models(data).items()},
    }
    return _command("ppo.py", "ppo.py:scratch", workdir, fields)


RUNS = {"reward_model": reward_model, "policy": policy}


def _models(data: Path) -> dict[str, Any]:
    """Returns the fields of configs/helpful.py for a tiny reward model."""
    return {
        "data.train": f"jsonl:{data}",
        "data.eval": "holdout:20%",
        "data.holdout": 0.2,
        "tokenizer.vocab_size": 280,
        "evaluation.bootstrap": 10,
        "evaluation.references": 6,
        **{f"model.{name}": value for name, value in MODEL.items()},
        **{f"{stage}.{name}": value for stage in ("train", "sft") for name, value in STAGE.items()},
        "sft.max_steps": 2,
        "sft.keep": 1,
        "train.max_steps": 3,
    }


def _command(script: str, config: str, workdir: Path, fields: dict[str, Any]) -> list[str]:
    settings = [f"--config.{name}={value}" for name, value in fields.items()]
    return [f"experiments/{script}", f"--config=configs/{config}", f"--workdir={workdir}", *settings]


def contents(folder: Path) -> dict[str, str]:
    """Returns a digest of everything in a run directory, by the name of the file or of the arrays.

    Arrays are compared by value, since orbax chooses other file names each time. Log lines are compared without times.
    """
    found: dict[str, str] = {}
    trees = [path for root in sorted(folder.rglob("checkpoints")) for path in list_checkpoints(root)]
    parts = [path / name for path in trees for name in ("params", "optimizer")]
    layout = make_layout(layout="pmap", devices=1)
    for part in parts:
        for key, leaf in jax.tree_util.tree_leaves_with_path(load_tree(part, layout=layout)):
            name = f"{part.relative_to(folder)}{jax.tree_util.keystr(key)}"
            found[name] = _digest(np.asarray(leaf).tobytes())
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name in NOT_COMPARED or any(part in path.parents for part in parts):
            continue
        found[name] = _digest(_without_times(path))
    return found


def differences(folder: Path, reference: dict[str, str]) -> str:
    """Returns the names of what differs from an uninterrupted run, otherwise ""."""
    mine = contents(folder)
    names = [name for name in sorted(mine.keys() | reference.keys()) if mine.get(name) != reference.get(name)]
    return ", ".join(names[:4])


def tree_digest(folder: Path) -> str:
    """Returns a digest of all names and bytes in a folder; "" if it does not exist."""
    parts = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts.update(f"{path.relative_to(folder)}\0".encode() + (path.read_bytes() if path.is_file() else b"/") + b"\0")
    return parts.hexdigest() if folder.is_dir() else ""


def _without_times(path: Path) -> bytes:
    if path.name == "metrics.jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return json.dumps([{k: v for k, v in row.items() if k != "seconds"} for row in rows]).encode()
    if path.name == "manifest.json":  # sizes and digests of the other files
        return b""
    return path.read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
