"""Supervised fine-tuning: a language model on demonstrations, from which a reward model can start.

python experiments/sft.py --config=configs/sft.py
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import cli
from checks import check_settings, compute_dtype
from materials import Config, SftExamples, read_demonstrations, sft_examples, texts_of
from stages import Stage, make_contract, run_stage
from starts import Start, begin, is_pretrained

from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.evaluation import figures
from rmjax.models.attention import pays_for_row_length
from rmjax.models.parallel import leads, make_layout
from rmjax.models.transformer import LanguageModel
from rmjax.training.objectives import sft_objective
from rmjax.training.run import RunDirectory, write_json
from rmjax.training.step import TrainState, evaluate_stream, make_eval_step


def main() -> None:
    run_config(cli.config_dict(), cli.workdir())


def run_config(config: Config, workdir: Path) -> None:
    """One SFT run from its configuration to its results; resumes what was interrupted."""
    if RunDirectory(workdir, config).finished:
        print(f"{workdir} is finished: nothing to do. Another --workdir starts afresh.")
        return
    check_settings(config, "train")
    if config["init"] == "sft":
        raise InputError("init=sft is what this script does: here init is random, pretrained or an SFT run's folder")
    start, examples = prepare(config)
    result = train_language_model(config, workdir, start, examples)
    print(f"held-out loss {result['loss']:.3f} nats per token, perplexity {result['perplexity']:.2f}")
    page = "configs/helpful.py" + (":VARIANT" if is_pretrained(config) else "")  # the variant is the one of this run
    print(f"A reward model from it: python experiments/train.py --config={page} --config.init={workdir}")


def prepare(config: Config) -> tuple[Start, SftExamples]:
    """Tokenizer and trunk, and the demonstrations as ids, which are all that training needs of them."""
    demonstrations = read_demonstrations(config, config["data"]["train"])
    start = begin(config, lambda: texts_of(demonstrations[0], []))
    return start, sft_examples(demonstrations, start.tokenizer)


def train_language_model(config: Config, workdir: Path, start: Start, examples: SftExamples) -> dict[str, Any]:
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
    contract = make_contract("language_model", (), config, start, config["data"]["train"], learned)
    eval_step = make_eval_step(objective, layout)
    eval_stream = BatchStream(
        examples.held_out,
        batch_size=settings["batch_size"],
        epochs=1,
        row_length=settings["row_length"],
        single_row=not pays_for_row_length(),
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
    if leads():
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


if __name__ == "__main__":
    cli.define_config()
    cli.run(main)
