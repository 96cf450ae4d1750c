"""The SFT stage: a language model on demonstrations, from which a reward model can start."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.models.attention import uses_dense_attention
from rmjax.models.config import default_head
from rmjax.models.transformer import LanguageModel
from rmjax.parallel.layout import make_layout
from rmjax.parallel.processes import is_main_process
from rmjax.report import figures
from rmjax.stages.checks import check_settings, compute_dtype
from rmjax.stages.datasets import Config, SftExamples, read_demonstrations, sft_examples, texts_of
from rmjax.stages.initialization import Initialization, initialize, is_pretrained
from rmjax.stages.stage import Stage, make_contract, run_stage
from rmjax.training.objectives import sft_objective
from rmjax.training.run import RunDirectory, write_json
from rmjax.training.step import TrainState, evaluate_stream, make_eval_step


def train_language_model(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains a language model on demonstrations from a configuration; resumes an interrupted run.

    Args:
        config: the fields of configs/sft.py, as a dict.
        workdir: the run directory.

    Returns:
        The contents of its `evaluation.json`, of a finished run too.

    Raises:
        InputError: a setting or the data cannot be used.
    """
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{workdir} is finished: nothing to do. Another --workdir starts afresh.")
        return run.read_evaluation()
    check_settings(config, "train")
    if config["init"] == "sft":
        raise InputError("init=sft is what this script does: here init is random, pretrained or an SFT run's folder")
    start, examples = load_sft_data(config)
    return run_sft_stage(config, workdir, start, examples)


def load_sft_data(config: Config) -> tuple[Initialization, SftExamples]:
    """Tokenizer and trunk, and the demonstrations as ids, which are all that training needs of them."""
    demonstrations = read_demonstrations(config, config["data"]["train"])
    start = initialize(config, lambda: texts_of(demonstrations[0], []))
    return start, sft_examples(demonstrations, start.tokenizer)


def run_sft_stage(config: Config, workdir: Path, start: Initialization, examples: SftExamples) -> dict[str, Any]:
    """SFT: trains a language model on demonstrations, or finds it finished.

    Args:
        config: the fields `seed`, `model`, `parallel`, `train` and `data` (only to record where the data came from).
        workdir: its run directory.
        start: tokenizer and trunk.
        examples: what it learns from and is measured by.

    Returns:
        The contents of its `evaluation.json`: loss in nats per token on held-out demonstrations, and its perplexity.
    """
    run = RunDirectory(workdir, config)
    if run.finished:
        return run.read_evaluation()
    if not start.trunk.causal:
        raise InputError(
            f"{start.origin} is an encoder, which SFT cannot train: a reward model starts from it with init=pretrained"
        )
    run.create(examples.fingerprints)
    settings = config["train"]
    layout = make_layout(**config["parallel"])
    model = LanguageModel(start.trunk, compute_dtype(config), settings["remat"])
    objective = sft_objective(lambda params, batch: model.apply({"params": params}, batch))
    learned = examples.fingerprints["train"]
    contract = make_contract(
        "language_model", default_head((), start.trunk), config, start, config["data"]["train"], learned
    )
    eval_step = make_eval_step(objective, layout)
    eval_stream = BatchStream(
        examples.held_out,
        batch_size=settings["batch_size"],
        epochs=1,
        row_length=settings["row_length"],
        single_row=not uses_dense_attention(),
        microbatches=settings["microbatches"],
        shards=layout.shards,
        process=layout.process,
        seed=config["seed"],
    )

    def validate(state: TrainState) -> dict[str, float]:
        metrics = evaluate_stream(eval_step, state.params, eval_stream)
        return {"validation_loss": metrics["loss"], "validation_accuracy": metrics["accuracy"]}

    stage = Stage(
        title="SFT",
        unit="demonstrations",
        model=model,
        start=start,
        objective=objective,
        examples=examples.learned,
        evaluate=validate,
        seal=lambda state, step: dataclasses.replace(contract, step=step),
    )
    metrics = validate(run_stage(stage, config, settings, run, layout))
    if is_main_process():
        figures.training_curve(run.figure("training.png"), run.metrics(), title="SFT", loss_unit="nats per token")
    loss = metrics["validation_loss"]
    result = {
        "demonstrations": len(examples.held_out),
        "loss": loss,
        "perplexity": math.exp(loss),
        "accuracy": metrics["validation_accuracy"],
    }
    write_json(run.evaluation, result)
    return result


def sft_config(config: Config, source: str) -> Config:
    """The configuration of the SFT stage inside a reward-model run, as its own run directory records it."""
    return {
        "seed": config["seed"],
        "init_seed": config["init_seed"],
        "init": "pretrained" if is_pretrained(config) else "random",
        "data": {"train": source, "holdout": config["data"]["holdout"], "manual_dir": config["data"]["manual_dir"]},
        "tokenizer": config["tokenizer"],
        "model": config["model"],
        "train": config["sft"],
        "parallel": config["parallel"],
    }
