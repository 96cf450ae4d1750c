"""Reader of run directories, for reports and notebooks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from rmjax.errors import InputError
from rmjax.training.run import Kind, RunDirectory, RunPaths

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The contents of the files of a run directory; None for a missing file.

    Attributes:
        path: the directory.
        config: the configuration.
        environment: kind of model, versions, commit, devices and command.
        audit: counts and overlaps of the data sets (`data_audit.json`).
        packing: shape of the batches and share of padding.
        metrics: the logged lines; empty if there are none.
        evaluation: the results; None until the run is finished.
        mistakes: the worst mistakes, the worst first.
        samples: responses of a policy to the same held-out prompts at several steps.
        figures: the PNG files, by name without the extension.
    """

    path: Path
    config: Json
    environment: Json | None
    audit: Json | None
    packing: Json | None
    metrics: list[Json]
    evaluation: Json | None
    mistakes: list[Json] | None
    samples: list[Json] | None
    figures: dict[str, Path]

    @property
    def kind(self) -> Kind:
        """The kind of model. Runs of earlier versions do not state it: reward models have heads."""
        stated = self.environment and self.environment.get("kind")
        return stated or ("reward_model" if "heads" in self.config else "language_model")


def read_run(path: str | Path) -> RunFiles:
    """Reads a run directory, finished or not.

    Raises:
        InputError: the directory holds no run, or one of its files cannot be read.
    """
    config = read_json(RunPaths(Path(path)).config_file)
    if config is None:
        raise InputError(f"{path} holds no run (config.json is missing): give a run directory")
    run = RunDirectory(Path(path), config)
    return RunFiles(
        path=run.path,
        config=config,
        environment=read_json(run.environment),
        audit=read_json(run.data_audit),
        packing=read_json(run.packing),
        metrics=run.metrics(),
        evaluation=read_json(run.evaluation),
        mistakes=_read_lines(run.mistakes),
        samples=_read_lines(run.samples_file),
        figures={file.stem: file for file in sorted(run.figures.glob("*.png"))},
    )


def read_json(path: Path) -> Any:
    """The contents of a JSON file; None if there is no such file.

    Raises:
        InputError: the file is not JSON.
    """
    return _parsed(path, path.read_text(encoding="utf-8")) if path.is_file() else None


def _read_lines(path: Path) -> list[Any] | None:
    if not path.is_file():
        return None
    # Not splitlines: JSON does not escape all of its line separators, such as U+2028.
    return [_parsed(path, line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): it was damaged or edited after the run") from None
