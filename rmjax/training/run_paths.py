"""Paths of the files of a run directory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rmjax.scoring.manifest import MANIFEST


@dataclasses.dataclass(frozen=True)
class RunPaths:
    """The paths of the files in the run directory `path`. No other code names these files."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The complete configuration. A directory with this file is a run directory."""
        return self.path / "config.json"

    @property
    def environment(self) -> Path:
        """Kind of model, versions, commit, devices and command."""
        return self.path / "environment.json"

    @property
    def data_fingerprint(self) -> Path:
        """Fingerprints of the data; they must be the same when the run is resumed."""
        return self.path / "data_fingerprint.json"

    @property
    def data_audit(self) -> Path:
        """Counts and overlaps of the data sets."""
        return self.path / "data_audit.json"

    @property
    def packing(self) -> Path:
        """Shape of the batches and share of padding."""
        return self.path / "packing.json"

    @property
    def metrics_file(self) -> Path:
        """The training log, one line for each logged step."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's copy of the log."""
        return self.path / "tensorboard"

    @property
    def wandb_file(self) -> Path:
        """The id of the copy of the log at Weights & Biases."""
        return self.path / "wandb.json"

    @property
    def samples_file(self) -> Path:
        """Responses of a policy to the same held-out prompts at several steps, one a line."""
        return self.path / "samples.jsonl"

    @property
    def mistakes(self) -> Path:
        """The pairs that the model orders most strongly against the raters, one a line."""
        return self.path / "mistakes.jsonl"

    @property
    def benchmark(self) -> Path:
        """The results of experiments/benchmark.py, if its --output names this file."""
        return self.path / "benchmark.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints (rmjax.scoring.checkpoint)."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of the figures, NAME.png."""
        return self.path / "figures"

    @property
    def evaluation(self) -> Path:
        """The results. This file is written last."""
        return self.path / "evaluation.json"

    @property
    def outcomes(self) -> Path:
        """The outcomes on every test pair (rmjax.evaluation.outcomes)."""
        return outcomes_path(self.evaluation)

    @property
    def logs(self) -> tuple[Path, ...]:
        """The logs, which checkpoints keep as well."""
        return self.metrics_file, self.samples_file

    @property
    def files(self) -> list[Path]:
        """All files of a finished run but its results: those that its manifest lists."""
        states = [self.config_file, self.environment, self.data_fingerprint, self.data_audit, self.packing]
        return [*states, *self.logs, self.mistakes, self.outcomes, *self.figures.glob("*.png")]

    @property
    def manifest(self) -> Path:
        """Size and sha256 of all files of a finished run (rmjax.scoring.manifest)."""
        return self.path / MANIFEST

    @property
    def finished(self) -> bool:
        """True if the run has written its results."""
        return self.evaluation.is_file()

    def finished_in_words(self) -> str:
        """Returns that the run is finished, and how to train again."""
        return f"{self.path} is finished: nothing to do. To train again, give another --workdir or delete this one."


def outcomes_path(results: Path) -> Path:
    """Returns the path of the outcomes of all test pairs: in the folder of the results, with the same name."""
    return results.with_suffix(".outcomes.npz")
