"""Signals of over-optimisation that need reward models: distance of hidden states, and disagreement of judges."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmjax.data.comparisons import Message, Prompt
from rmjax.evaluation.detectors import disagreement, outliers
from rmjax.scoring.checkpoint import load
from rmjax.scoring.reward_model import RewardModel
from rmjax.training.run import write_json
from rmjax.training.run_files import RunFiles, read_json, read_run
from rmjax.training.run_paths import RunPaths

FILE = "model_signals.json"


def write_model_signals(runs: Sequence[Path]) -> None:
    """Writes `FILE` for every policy of a study that lacks it: a signal for each evaluation of the policy, by name.

    `hidden states` is the share of responses whose features are far from those of the start, in the judge that the
    policy is optimised against; see `detectors.outliers`. `disagreement` is that of the judge and the judges of the
    same setting with other seeds, if there are any; see `detectors.disagreement`.
    """
    loaded = functools.lru_cache(maxsize=8)(load)
    for folder in runs:
        run = read_run(folder)
        # An earlier table of the same study may have had fewer seeds.
        judges = [path.name for path in same_setting(first_judge(run))]
        if (read_json(folder / FILE) or {}).get("judges") != judges:
            write_json(folder / FILE, {"judges": judges, "signals": _signals(run, loaded)})


def first_judge(run: RunFiles) -> Path:
    """Returns the reward model of a policy; of an ensemble the first one."""
    return Path(run.config["reward"].split(",")[0])


def same_setting(judge: Path) -> list[Path]:
    """Returns the finished reward models of all seeds that a study has of a judge, with the judge itself, by name."""
    start = judge.name.rpartition("-seed")[0]
    found = judge.parent.glob(f"{start}-seed*") if start else [judge]
    return sorted(path for path in found if RunPaths(path).finished)


def _signals(run: RunFiles, loaded: functools._lru_cache_wrapper[RewardModel]) -> dict[str, list[float]]:
    # The prompts are the same at every evaluation, and each is computed once for all of its responses.
    responses: dict[Prompt, list[str]] = {}
    for record in run.samples or []:
        prompt = tuple(Message(turn["role"], turn["content"]) for turn in record["prompt"])
        responses.setdefault(prompt, []).append(record["response"])
    prompts, texts = list(responses), list(responses.values())
    judge = first_judge(run)
    if not RunPaths(judge).finished:
        return {}
    features_PxExD = np.stack(loaded(judge).features(prompts, texts))
    features_ExPxD = features_PxExD.swapaxes(0, 1)
    signals = {"hidden states": [outliers(features_ExPxD[0], each) for each in features_ExPxD]}
    judges = same_setting(judge)
    if len(judges) > 1:
        scores_JxPxE = np.stack(
            [[group[:, 0] for group in loaded(path).score_groups(prompts, texts).raw] for path in judges]
        )
        signals["disagreement"] = disagreement(scores_JxPxE[:, :, 0], scores_JxPxE)
    return signals
