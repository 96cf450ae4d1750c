"""Reader of run directories, for reports and notebooks."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from rmjax.data import files
from rmjax.errors import InputError
from rmjax.training.run import Kind, check_finished
from rmjax.training.run_paths import RunPaths

Json = dict[str, Any]

LARGEST_LOG = 2**30  # bytes of a file of JSON lines
LARGEST_FIGURE = 16 * 2**20
PNG = b"\x89PNG\r\n\x1a\n"


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
        benchmark: results of benchmarks and probes, if experiments/benchmark.py wrote them there.
        mistakes: the worst mistakes, the worst first.
        samples: responses of a policy to the same held-out prompts at several steps.
        figures: the PNG files, by name without the extension; not those that are links to other folders.
    """

    path: Path
    config: Json
    environment: Json | None
    audit: Json | None
    packing: Json | None
    metrics: list[Json]
    evaluation: Json | None
    benchmark: Json | None
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
    run = RunPaths(Path(path))
    config = read_json(run.config_file)
    if config is None:
        raise InputError(f"{path} holds no run (config.json is missing): give a run directory")
    check_finished(run)
    return RunFiles(
        path=run.path,
        config=config,
        environment=read_json(run.environment),
        audit=read_json(run.data_audit),
        packing=read_json(run.packing),
        metrics=_read_lines(run.metrics_file, complete=True) or [],
        evaluation=read_json(run.evaluation),
        benchmark=read_json(run.benchmark),
        mistakes=_read_lines(run.mistakes),
        samples=_read_lines(run.samples_file),
        figures={file.stem: file for file in sorted(run.figures.glob("*.png")) if is_figure(file, run.path)},
    )


def read_json(path: Path) -> Json | None:
    """The contents of a JSON file; None if there is no such file.

    Raises:
        InputError: the file is not a JSON object.
    """
    return _checked(path, files.read_json(path)) if path.exists() else None


def is_figure(file: Path, run: Path) -> bool:
    """Returns True for a PNG file inside of the run directory; warns of another file on standard error."""
    if not file.resolve().is_relative_to(run.resolve()):
        reason = "is a link to another folder"
    elif not file.is_file() or file.stat().st_size > LARGEST_FIGURE:
        reason = f"is no file of at most {LARGEST_FIGURE:,} bytes"
    elif not file.read_bytes().startswith(PNG):
        reason = "is not a PNG file"
    else:
        return True
    print(f"warning: {file} {reason}: it is left out", file=sys.stderr)
    return False


def _read_lines(path: Path, *, complete: bool = False) -> list[Json] | None:
    """The objects of a file of JSON lines; None if there is no such file. `complete`: the last line may be cut."""
    files.require_regular(path)
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST_LOG:
        raise InputError(f"{path} has more than {LARGEST_LOG:,} bytes: it was not written by a run")
    try:
        text = path.read_text(encoding="utf-8")
        # Not splitlines: JSON does not escape all of its line separators, such as U+2028.
        lines = (text.rpartition("\n")[0] if complete else text).split("\n")
        return [_checked(path, json.loads(line)) for line in lines if line]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): it was damaged or edited after the run") from None


def _checked(path: Path, value: Any) -> Json:
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold a JSON object: it was damaged or edited after the run")
    return value
