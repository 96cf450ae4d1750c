"""Run directory: configuration, environment, log and results of one run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from rmjax.data.files import read_json
from rmjax.durable import PARTIAL, write_durably, writing
from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process, sync_processes
from rmjax.scoring.manifest import MANIFEST, manifest_of, verify_files
from rmjax.training import lock
from rmjax.training.environment import environment
from rmjax.training.run_paths import RunPaths

Kind = Literal["reward_model", "language_model", "policy"]
WITHOUT_EFFECT = ("loggers",)  # fields of a configuration that may change when a run is resumed


class RowLogger(Protocol):
    """Interface that receives the rows of `metrics.jsonl`; see rmjax.training.loggers."""

    def begin(self, rows: Sequence[Mapping[str, Any]], removed: int) -> None:
        """Receives the rows that the run has, and the number of those after them, which will be logged again."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Receives a row that was written."""


class RunDirectory(RunPaths):
    """The directory `path` of a run with `config`: new, interrupted, or finished.

    The constructor writes nothing. `create` does, after the input of the run has been checked.

    Raises:
        InputError: the directory holds a run with another configuration, or something that is not a run.
    """

    def __init__(self, path: Path | str, config: Mapping[str, Any]) -> None:
        super().__init__(Path(path))
        self.config = _jsonable(config)
        self.loggers: list[RowLogger] = []
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: give another --workdir")
        stored = self.config_file
        if stored.is_file():
            before = read_json(stored)
            old, new = ({k: v for k, v in each.items() if k not in WITHOUT_EFFECT} for each in (before, self.config))
            differences = list(_differences(old, new))
            if differences:
                raise InputError(
                    f"{self.path} holds a run with another configuration ({'; '.join(differences[:3])}, by its "
                    f"{stored.name}): give another --workdir, or delete it"
                )
        elif self.path.is_dir() and not all(map(_is_leftover, self.path.iterdir())):
            raise InputError(
                f"{self.path} is not empty and holds no run ({stored.name} is missing): give another --workdir"
            )

    def create(self, data: Mapping[str, Any], kind: Kind) -> None:
        """Writes the configuration, the environment, and the fingerprints of the data; creates the directory.

        Args:
            data: the fingerprints, by the name of the data set.
            kind: the kind of model that the run trains.

        Raises:
            InputError: the run was begun on other data under the same names.
        """
        sync_processes(f"opened {self.path}")  # no process reads the directory while another one writes to it
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        stored = self.data_fingerprint
        if stored.is_file():
            before = read_json(stored)
            changed = [name for name in data if not isinstance(before, dict) or data[name] != before.get(name)]
            if changed:
                raise InputError(
                    f"the data ({', '.join(changed)}) are not those of {stored}: they have changed since the run was "
                    "begun, or the file has; give another --workdir"
                )
        write_json(self.config_file, self.config)  # first: it makes the directory that of a run
        write_json(stored, data)
        write_json(self.environment, {"kind": kind, **environment()})

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes evaluation.json, and before it the manifest of all files of the run. Both make it a finished run."""
        content = _to_json(result)
        written = [path for path in self.files if path.is_file()]
        write_text(self.manifest, manifest_of(self.path, written, {self.evaluation.name: content}))
        write_bytes(self.evaluation, content)

    def read_evaluation(self) -> dict[str, Any]:
        """The contents of evaluation.json.

        Raises:
            InputError: a file of the run has changed since the run was finished.
        """
        check_finished(self)
        return read_json(self.evaluation)

    def figure(self, name: str) -> Path:
        """The path of a figure; creates its folder."""
        with writing(self.figures):
            self.figures.mkdir(exist_ok=True)
        return self.figures / name

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends one line to metrics.jsonl, and gives it to the loggers."""
        _append(self.metrics_file, row)
        for logger in self.loggers:
            logger.log(row)

    def metrics(self) -> list[dict[str, Any]]:
        """The complete lines of metrics.jsonl."""
        return _complete_lines(self.metrics_file)

    def log_sample(self, record: Mapping[str, Any]) -> None:
        """Appends one line to samples.jsonl."""
        _append(self.samples_file, record)

    def rewind(self, step: int, checkpoint: Path | None = None) -> None:
        """Removes the lines of both logs after `step`: a resumed run logs those steps again.

        The logs are those that were saved with the checkpoint of this step, so that a damaged log is mended.

        Raises:
            InputError: there is no such checkpoint, and a log has a line that is not JSON.
        """
        before = self.metrics_file.read_bytes().count(b"\n") if self.metrics_file.is_file() else 0
        for file in self.logs:
            if checkpoint and (saved := checkpoint / file.name).is_file():
                content = saved.read_bytes()
                if is_main_process() and not (file.is_file() and file.read_bytes().startswith(content)):
                    print(f"warning: {file} was damaged: it is that of {checkpoint} again", file=sys.stderr)
                write_bytes(file, content)
            elif file.is_file():
                rows = [row for row in _complete_lines(file) if row["step"] <= step]
                write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
        kept = self.metrics() if self.loggers else []
        for logger in self.loggers:
            logger.begin(kept, before - len(kept))
        sync_processes(f"rewound {self.path} to step {step}")  # every process reads the logs


def _append(path: Path, row: Mapping[str, Any]) -> None:
    if is_main_process():
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        # A crash may have left a part of a line at the end.
        return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]
    except ValueError as error:
        raise InputError(f"{path} has a line that is not JSON ({error}): it was damaged; delete it") from None


def check_finished(run: RunPaths) -> None:
    """Raises InputError if a file of a finished run has changed. Runs of earlier versions have no manifest to check."""
    if run.manifest.is_file() and (wrong := verify_files(run.path, (run.evaluation.name,))):
        raise InputError(
            f"{run.path} has changed since it was finished: {wrong}, by its {MANIFEST}; delete {run.evaluation}, and "
            "the command that made the run writes its results again from its last checkpoint"
        )


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file atomically; only the main process writes."""
    write_bytes(path, _to_json(value))


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically; only the main process writes."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically; only the main process writes."""
    if is_main_process():
        write_durably(path, content)


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _is_leftover(path: Path) -> bool:
    """Returns True for a file that a process left which was killed before it wrote the configuration."""
    return path.name == lock.NAME or path.name.endswith(PARTIAL)


def _jsonable(config: Mapping[str, Any]) -> dict[str, Any]:
    # JSON has no tuples: after the conversion they compare equal to the lists in the file.
    return json.loads(json.dumps(config))


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} was {old!r} and is {new!r}"
