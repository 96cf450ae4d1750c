"""A run directory: what a run was, what it measured, and whether it is done.

config.json       the configuration, complete
environment.json  versions, commit, devices
data_fingerprint.json  what a resumed run must find unchanged
data_audit.json   what was read
metrics.jsonl     one line per logged step
mistakes.jsonl    the pairs that the model orders most strongly against the raters
checkpoints/      see rmjax.scoring.checkpoint
figures/*.png
evaluation.json   written last: a run that has it is finished
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

import rmjax
from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process, sync_processes

PACKAGES = ("flax", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint", "tokenizers", "transformers")


class RunDirectory:
    """The directory `path` for a run with `config`: new, to be resumed, or finished.

    Opening writes nothing; `create` does, once the run's input has been found good.

    Raises:
        InputError: the directory holds a run with another configuration, or something that is no run.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path, self.config = Path(path), _jsonable(config)
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: give another --workdir")
        stored = self.path / "config.json"
        if stored.is_file():
            differences = list(_differences(json.loads(stored.read_text(encoding="utf-8")), self.config))
            if differences:
                raise InputError(
                    f"{self.path} holds a run with another configuration ({'; '.join(differences[:3])}): "
                    "give another --workdir, or delete it"
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(f"{self.path} is not empty and holds no run: give another --workdir")

    def create(self, data: Mapping[str, Any]) -> None:
        """Makes the directory and writes down configuration, environment, and the fingerprints of the data.

        Raises:
            InputError: the run was begun on other data under the same names.
        """
        sync_processes(f"opened {self.path}")  # no process looks into the directory while another fills it
        self.path.mkdir(parents=True, exist_ok=True)
        stored = self.path / "data_fingerprint.json"
        if stored.is_file():
            before = json.loads(stored.read_text(encoding="utf-8"))
            changed = [name for name in data if data[name] != before.get(name)]
            if changed:
                raise InputError(
                    f"the data ({', '.join(changed)}) have changed since {self.path} was begun: give another --workdir"
                )
        write_json(stored, data)
        write_json(self.path / "config.json", self.config)
        write_json(self.path / "environment.json", environment())

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def evaluation(self) -> Path:
        """The file that is written last."""
        return self.path / "evaluation.json"

    @property
    def finished(self) -> bool:
        """Whether the run went all the way through."""
        return self.evaluation.is_file()

    def read_evaluation(self) -> dict[str, Any]:
        """The contents of evaluation.json."""
        return json.loads(self.evaluation.read_text(encoding="utf-8"))

    def figure(self, name: str) -> Path:
        """The path of a figure; its folder exists."""
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        return folder / name

    def log(self, row: Mapping[str, float]) -> None:
        """Appends one line to metrics.jsonl."""
        if not is_main_process():
            return
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """The logged lines so far."""
        path = self.path / "metrics.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        # What follows the last end of line was torn off by a crash.
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]

    def rewind(self, step: int) -> None:
        """Forgets what was logged after `step`: a resumed run logs those steps again."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            kept = [row for row in self.metrics() if row["step"] <= step]
            write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def environment() -> dict[str, Any]:
    """Versions, source commit and devices, for `environment.json`."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=False)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "rmjax": rmjax.__version__,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit.stdout.strip() or None,
        "uncommitted_changes": bool(changed.stdout.strip()),
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "command": sys.argv,
    }


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that the file is either whole or not there."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that it is either whole or not there; of several processes the first does."""
    if not is_main_process():
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _jsonable(config: Mapping[str, Any]) -> dict[str, Any]:
    # Through JSON and back, so that tuples compare equal to the lists that a file gives.
    return json.loads(json.dumps(config))


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} was {old!r} and is {new!r}"
