"""What a run directory holds, read back: for reports and notebooks, which come after the run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from rmjax.errors import InputError
from rmjax.training.run import RunDirectory

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The files of a run directory; None where it has no such file.

    Attributes:
        path: the directory.
        config: the configuration; it is what makes a directory a run.
        environment: versions, commit, devices and command.
        audit: what was read (`data_audit.json`).
        packing: how full the batches are.
        metrics: the logged lines, of which there may be none.
        evaluation: the results; None until the run is finished.
        mistakes: the worst mistakes, the worst first.
        figures: the PNG files, by name without its ending.
    """

    path: Path
    config: Json
    environment: Json | None
    audit: Json | None
    packing: Json | None
    metrics: list[dict[str, float]]
    evaluation: Json | None
    mistakes: list[Json] | None
    figures: dict[str, Path]


def read_run(path: str | Path) -> RunFiles:
    """Reads a run directory, finished or not.

    Raises:
        InputError: the directory holds no run, or one of its files cannot be read.
    """
    path = Path(path)
    config = read_json(path / "config.json")
    if config is None:
        raise InputError(f"{path} holds no run (config.json is missing): give a run directory")
    return RunFiles(
        path=path,
        config=config,
        environment=read_json(path / "environment.json"),
        audit=read_json(path / "data_audit.json"),
        packing=read_json(path / "packing.json"),
        metrics=RunDirectory(path, config).metrics(),
        evaluation=read_json(path / "evaluation.json"),
        mistakes=_read_lines(path / "mistakes.jsonl"),
        figures={file.stem: file for file in sorted((path / "figures").glob("*.png"))},
    )


def read_json(path: Path) -> Any:
    """The contents of a JSON file; None where there is no such file.

    Raises:
        InputError: it is not JSON.
    """
    return _parsed(path, path.read_text(encoding="utf-8")) if path.is_file() else None


def _read_lines(path: Path) -> list[Any] | None:
    if not path.is_file():
        return None
    # Not splitlines: a record may hold the line separators that JSON leaves as they are.
    return [_parsed(path, line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): it was damaged or edited after the run") from None
