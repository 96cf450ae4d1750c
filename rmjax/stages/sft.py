"""Supervised fine-tuning: a language model on demonstrations, from which a reward model can start."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmjax.errors import InputError
from rmjax.models.config import default_head
from rmjax.models.logprobs import next_token_model
from rmjax.models.transformer import LanguageModel
from rmjax.parallel.processes import is_main_process
from rmjax.report import figures
from rmjax.scoring.batched_forward import BatchedForward
from rmjax.stages.datasets import SftExamples, encode_sft, load_demonstration_splits, training_texts
from rmjax.stages.initialization import Initialization, initialize
from rmjax.stages.minimal_edits import edit_accuracy
from rmjax.stages.parsing import parse, plain_dict, to_dict
from rmjax.stages.settings import SftSettings
from rmjax.stages.stage import Stage, base_contract, make_stream, run_stage
from rmjax.training.lock import locked
from rmjax.training.objectives import sft_objective
from rmjax.training.run import RunDirectory
from rmjax.training.step import TrainState, evaluate_stream, make_eval_step


def train_language_model(config: Mapping[str, Any], workdir: Path | str) -> dict[str, Any]:
    """Trains a language model on demonstrations from a configuration; resumes an interrupted run.

    Args:
        config: the fields of configs/sft.py, as a dict or an `ml_collections.ConfigDict`.
        workdir: the run directory.

    Returns:
        The contents of its `evaluation.json`, also if the run was finished before.

    Raises:
        InputError: a setting or the data cannot be used.
    """
    config = plain_dict(config)
    run = RunDirectory(workdir, config)
    if run.finished:
        print(run.finished_in_words())
        return run.read_evaluation()
    settings = parse(SftSettings, config)
    if settings.init == "sft":
        raise InputError("init=sft is for a reward model: here init is random, pretrained or an SFT run's folder")
    demonstrations = load_demonstration_splits(settings.data.train, settings.data)
    start = initialize(settings, lambda: training_texts(demonstrations.learned, []))
    return run_sft_stage(settings, run.path, start, encode_sft(demonstrations, start.tokenizer))


def run_sft_stage(settings: SftSettings, workdir: Path, start: Initialization, examples: SftExamples) -> dict[str, Any]:
    """Trains a language model, unless its run is finished.

    Args:
        settings: the settings.
        workdir: the run directory of the stage.
        start: tokenizer and initial trunk.
        examples: the demonstrations.

    Returns:
        The contents of its `evaluation.json`: loss in nats per token on held-out demonstrations, its perplexity, and
        after training on the embedded corpus `minimal_edits`, see `edit_accuracy`.
    """
    run = RunDirectory(workdir, to_dict(settings))
    if run.finished:
        return run.read_evaluation()
    if not start.trunk.causal:
        raise InputError(
            f"{start.origin} is an encoder, which SFT cannot train: a reward model starts from it with init=pretrained"
        )
    with locked(run.path):
        run.create(examples.fingerprints, "language_model")
        return fit_language_model(settings, run, start, examples)


def fit_language_model(
    settings: SftSettings, run: RunDirectory, start: Initialization, examples: SftExamples
) -> dict[str, Any]:
    """Trains a language model, and writes its results. Returns the contents of its `evaluation.json`."""
    layout = settings.parallel.make_layout()
    model = LanguageModel(start.trunk, settings.model.dtype, settings.train.remat)
    objective = sft_objective(next_token_model(model))
    learned = examples.fingerprints["train"]
    head = default_head((), start.trunk)
    contract = base_contract("language_model", head, settings, start, settings.data.train, learned)
    held_out = make_stream(examples.held_out, settings.train, layout, seed=settings.seed, epochs=1)
    eval_step = make_eval_step(objective, layout)

    def validate(state: TrainState) -> dict[str, float]:
        metrics = evaluate_stream(eval_step, state.params, held_out)
        return {"validation_loss": metrics["loss"], "validation_accuracy": metrics["accuracy"]}

    stage = Stage(
        title="SFT",
        unit="demonstrations",
        settings=settings.train,
        seed=settings.seed,
        weights_seed=settings.weights_seed,
        loggers=settings.loggers,
        model=model,
        start=start,
        objective=objective,
        examples=examples.learned,
        evaluate=validate,
        make_contract=lambda state, step: dataclasses.replace(contract, step=step),
    )
    state = run_stage(stage, run, layout)
    metrics = validate(state)
    if is_main_process():
        figures.training_curve(
            run.figure("training.png"), run.metrics(), title="SFT", loss_unit="nats per token", chance={}
        )
    loss = metrics["validation_loss"]
    result: dict[str, Any] = {
        "demonstrations": len(examples.held_out),
        "loss": loss,
        "perplexity": math.exp(loss),
        "accuracy": metrics["validation_accuracy"],
    }
    if settings.data.train.startswith(("gold/", "lessons/")):
        forward = BatchedForward(model, layout)
        result["minimal_edits"] = edit_accuracy(state.params, forward, start.tokenizer, settings.seed)
    run.finish(result)
    return result
