"""Training and evaluation from Python: `rmjax.train` and `rmjax.evaluate`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from rmjax.data.comparisons import Comparison
from rmjax.data.records import parse_comparison
from rmjax.data.sources import load_comparisons
from rmjax.scoring.checkpoint import load
from rmjax.scoring.language_model import LoadedLanguageModel, load_language_model
from rmjax.scoring.reward_function import RewardFunction
from rmjax.scoring.reward_model import RewardModel
from rmjax.stages.evaluation import evaluate_model, own_gate
from rmjax.stages.parsing import plain_dict
from rmjax.stages.reward import train_reward_model
from rmjax.stages.rl import train_policy
from rmjax.stages.sft import train_language_model
from rmjax.training.run import Kind

TRAIN: dict[Kind, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    "reward_model": train_reward_model,
    "language_model": train_language_model,
    "policy": train_policy,
}

Comparisons = str | Iterable[Comparison | dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        path: its directory, which all scripts accept.
        kind: `reward_model`, `language_model` (SFT) or `policy`.
        evaluation: the contents of its `evaluation.json`.
    """

    path: Path
    kind: Kind
    evaluation: dict[str, Any]

    def load(self) -> RewardModel:
        """Loads the trained reward model, as `rmjax.load(run.path)`.

        Raises:
            InputError: the run trained a language model or a policy.
        """
        return load(self.path)

    def load_language_model(self) -> LoadedLanguageModel:
        """Loads the trained language model or policy, which generates responses.

        Raises:
            InputError: the run trained a reward model.
        """
        return load_language_model(self.path)


def train(config: Mapping[str, Any], workdir: Path | str | None = None) -> TrainedRun:
    """Trains what a configuration describes: a reward model, a language model (SFT) or a policy.

    It does what `experiments/train.py`, `sft.py` and `ppo.py` do, with the same result: a run directory with
    checkpoints, log, figures and evaluation. If the directory holds the same run, it is resumed. If that run is
    finished, its results are returned. At the end all compiled programs of the process are freed
    (`jax.clear_caches`), so that a notebook can train many models.

    Args:
        config: the fields of a file of `configs/`, as a nested dict or an `ml_collections.ConfigDict`, such as that of
            `rmjax.config`. A field `algorithm` makes it a policy, `heads` a reward model.
        workdir: the run directory; by default a folder in `runs/` with a name from a hash of the configuration.

    Raises:
        InputError: a setting or the data cannot be used.

    Example:
        ```python
        import rmjax

        config = rmjax.config("helpful")
        config.data.train, config.data.eval = "jsonl:MINE.jsonl", "holdout"
        run = rmjax.train(config, "runs/mine")
        print(run.evaluation["accuracy"], run.evaluation["accuracy_ci95"])
        print(run.load().score("Hi, how are you?", "Great, and you?"))
        ```
    """
    config = plain_dict(config)
    kind: Kind = "policy" if "algorithm" in config else "reward_model" if "heads" in config else "language_model"
    if workdir is None:
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        workdir = Path("runs") / f"{kind.replace('_', '-')}-{digest[:6]}"
    try:
        return TrainedRun(Path(workdir), kind, TRAIN[kind](config, Path(workdir)))
    finally:
        # An RL run compiles more than a hundred programs, with 20,000 mappings of memory on a CPU. Linux allows a
        # process 65,530, and XLA ends the process when there are no more.
        jax.clear_caches()


def evaluate(
    model: RewardFunction | str | Path,
    comparisons: Comparisons,
    validation: Comparisons = (),
    *,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the metrics of a model on comparisons, as in `evaluation.json`, with 95 % intervals.

    It does what `experiments/evaluate.py` does, with the same result. README.md explains the keys.

    Args:
        model: a reward model, an ensemble, a gate, or the path of a run.
        comparisons: the name of a source of data, such as `jsonl:TEST.jsonl`; or comparisons, each as a `Comparison`
            or as a record of the forms in `rmjax.data.records`, such as a row of a dataset of Hugging Face.
        validation: other comparisons, to fit the temperature of each head on; none: no temperatures.
        bootstrap: number of resamples of the prompts for the intervals.
        seed: of the resampling.

    Raises:
        InputError: the comparisons cannot be used.

    Example:
        ```python
        import rmjax

        pairs = [{"prompt": "Hi!", "chosen": "Hello, how are you?", "rejected": "What?"}]
        result = rmjax.evaluate(rmjax.load("runs/helpful"), pairs)
        print(result["accuracy"], result["accuracy_ci95"])
        ```
    """
    model = load(model) if isinstance(model, str | Path) else model
    judged = _comparisons(comparisons, "test")
    return evaluate_model(
        model,
        judged,
        _comparisons(validation, "validation"),
        bootstrap=bootstrap,
        seed=seed,
        mistakes=0,
        gate=own_gate(model, judged),
    ).metrics


def _comparisons(given: Comparisons, role: str) -> list[Comparison]:
    """Returns the comparisons that are named or given."""
    if isinstance(given, str):
        return load_comparisons(given, role)
    return [
        each if isinstance(each, Comparison) else parse_comparison(each, f"comparison {number}")
        for number, each in enumerate(given)
    ]
