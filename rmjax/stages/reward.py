"""The reward-model stage: trained, sealed, evaluated on held-out judgements, and drawn."""

from __future__ import annotations

import collections
import dataclasses
import gc
from pathlib import Path
from typing import Any

import jax

from rmjax.data.examples import head_index
from rmjax.data.packing import PackedBatch
from rmjax.evaluation import mistakes
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.models.config import default_head
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_count
from rmjax.parallel.layout import make_layout
from rmjax.parallel.processes import is_main_process
from rmjax.report import figures
from rmjax.scoring.contract import Contract
from rmjax.scoring.finalize import finalize
from rmjax.scoring.gate import GatedModel, fit_gate
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS, Link
from rmjax.scoring.reward_model import RewardModel
from rmjax.stages.checks import check_settings, check_sources, compute_dtype
from rmjax.stages.datasets import Config
from rmjax.stages.evaluation import evaluate_model
from rmjax.stages.initialization import Initialization, init_from_sft_run
from rmjax.stages.reward_data import RewardData, prepare, sft_source
from rmjax.stages.sft import run_sft_stage, sft_config
from rmjax.stages.stage import Stage, make_contract, run_stage
from rmjax.training.objectives import LossConfig, ranking_objective, rating_objective
from rmjax.training.run import RunDirectory, write_json, write_text
from rmjax.training.step import TrainState


def train_reward_model(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains and evaluates a reward model from a configuration; resumes an interrupted run.

    Args:
        config: the fields of configs/helpful.py, as a dict.
        workdir: the run directory.

    Returns:
        The contents of its `evaluation.json`, of a finished run too.

    Raises:
        InputError: a setting or the data cannot be used.
    """
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{workdir} is finished: nothing to do. Its results:")
        return run.read_evaluation()
    print(f"Run directory: {workdir}\n")
    check_settings(config, "train", "sft")
    check_sources(config["data"])
    loss = LossConfig(**config["loss"])
    data = prepare(config, loss)

    run.create(data.fingerprints)
    write_json(run.path / "data_audit.json", data.audit.to_json())
    start = data.start
    if config["init"] == "sft":
        source = sft_source(config)
        print(f"Stage 1 of 2: a language model on {len(data.sft.learned)} demonstrations of {source} (SFT)")
        run_sft_stage(sft_config(config, source), run.path / "sft", start, data.sft)
        gc.collect()  # frees what it leaves on the devices; Python would do so much later
        start = init_from_sft_run(config, run.path / "sft")
        print("Stage 2 of 2: the reward model, from its weights")
    return run_reward_stage(config, run, start, data, loss)


def run_reward_stage(
    config: Config,
    run: RunDirectory,
    start: Initialization,
    data: RewardData,
    loss: LossConfig,
) -> dict[str, Any]:
    """Trains and evaluates a reward model.

    Args:
        config: the whole configuration.
        run: its run directory.
        start: tokenizer and trunk: those of `data`, or SFT's.
        data: what it learns from and is measured by.
        loss: the loss.

    Returns:
        The contents of its `evaluation.json`.
    """
    heads = tuple(config["heads"])
    layout = make_layout(**config["parallel"])
    head = default_head(heads, start.trunk)
    model = RewardTransformer(start.trunk, head, compute_dtype(config), config["train"]["remat"])

    def apply(params: Any, batch: PackedBatch) -> jax.Array:
        return model.apply({"params": params}, batch)

    learned = data.fingerprints["train"]
    contract = make_contract("reward_model", head, config, start, config["data"]["train"], learned)
    contract = dataclasses.replace(contract, link=link_of(loss))
    link = contract.link.log_odds if contract.link.has_odds else None
    scorer = RewardModel(None, contract, start.tokenizer, layout)

    def scoring(state: TrainState) -> RewardModel:
        scorer.params = state.params
        return scorer

    def validate(state: TrainState) -> dict[str, float]:
        scores = scoring(state).score_comparisons(data.validation).raw
        found = evaluate_heads(data.validation, scores, heads, bootstrap=0, seed=0, link=link)["heads"].values()
        pairs = sum(head["pairs"] for head in found)
        return {
            f"validation_{name}": sum(head[name] * head["pairs"] for head in found) / pairs
            for name in (("loss", "accuracy") if link else ("accuracy",))
        }

    def sealed(state: TrainState, step: int) -> Contract:
        contract = finalize(scoring(state), data.references, f"held-out {config['evaluation']['normalize_on']}", step)
        if not config["gate"]:
            return contract
        helpful, safety = config["gate"]
        found = {"helpful": helpful, "safety": safety, "source": "held-out comparisons"}
        gate = fit_gate(scoring(state), contract.normalization, data.validation, **found)
        scorer.contract = dataclasses.replace(contract, gate=gate)
        return scorer.contract

    stage = Stage(
        title="reward model",
        unit="comparisons",
        model=model,
        start=start,
        objective=rating_objective(apply) if loss.name == "squared_error" else ranking_objective(apply, loss),
        examples=data.examples,
        evaluate=validate,
        seal=sealed,
    )
    state = run_stage(stage, config, config["train"], run, layout)
    trained = scoring(state)
    if config["gate"] and scorer.contract.gate is None:  # stopped between the last checkpoint and here
        sealed(state, 0)  # the step plays no part
    fitted = collections.Counter(comparison.head for comparison in data.validation)
    evaluation = evaluate_model(
        trained,
        data.test,
        data.validation if link else (),
        bootstrap=config["evaluation"]["bootstrap"],
        seed=config["seed"],
        mistakes=mistakes.COUNT,
        gate=GatedModel(trained) if config["gate"] else None,
        gate_fitted_on={head: fitted[head] for head in config["gate"]},
    )
    if is_main_process():
        figures.training_curve(run.figure("training.png"), run.metrics())
        for z, head in enumerate(heads):
            mine = [i for i, comparison in enumerate(data.test) if head_index(comparison, heads) == z]
            own = [data.test[i] for i in mine], [evaluation.scores[i][:, z] for i in mine]
            title = f"{head} on {config['data']['eval']}"
            figures.reward_histogram(run.figure(f"rewards-{head}.png"), *own, title)
            if link:
                reliability = evaluation.metrics["calibration"][head]
                figures.reliability_diagram(run.figure(f"reliability-{head}.png"), reliability, title)
    write_text(run.path / "mistakes.jsonl", mistakes.as_lines(evaluation.mistakes))
    result = {"data": config["data"]["eval"], "parameters": parameter_count(model), **evaluation.metrics}
    write_json(run.evaluation, result)
    return result


def link_of(loss: LossConfig) -> Link:
    """The link of the scores that a loss trains."""
    if loss.name == "squared_error":
        return NO_ODDS
    return Link("rao_kupper", loss.tie_threshold) if loss.ties == "rao_kupper" else BRADLEY_TERRY
