"""The reward-model stage: trained, sealed, evaluated on held-out judgements, and drawn."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax
from checks import compute_dtype
from materials import Config
from prepare import Prepared
from stages import Stage, make_contract, run_stage
from starts import Start

from rmjax.data.examples import head_index
from rmjax.data.packing import PackedBatch
from rmjax.data.truncation import Truncation
from rmjax.evaluation import figures, mistakes
from rmjax.evaluation.breakdowns import Resampling
from rmjax.evaluation.calibration import fit_temperatures
from rmjax.evaluation.evaluate import evaluate_heads, json_safe
from rmjax.evaluation.gates import evaluate_gate
from rmjax.models.parallel import leads, make_layout
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_count
from rmjax.scoring.contract import Contract
from rmjax.scoring.gate import GatedModel, fit_gate
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS, Link
from rmjax.scoring.reward_model import RewardModel
from rmjax.scoring.seal import seal
from rmjax.training.objectives import LossConfig, ranking_objective, rating_objective
from rmjax.training.run import RunDirectory, write_json, write_text
from rmjax.training.step import TrainState


def train_reward_model(
    config: Config,
    run: RunDirectory,
    start: Start,
    data: Prepared,
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
    model = RewardTransformer(start.trunk, heads, compute_dtype(config), config["train"]["remat"])

    def apply(params: Any, batch: PackedBatch) -> jax.Array:
        return model.apply({"params": params}, batch)

    learned = data.fingerprints["train"]
    contract = make_contract("reward_model", heads, config, start, config["data"]["train"], learned)
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
        contract = seal(scoring(state), data.references, f"held-out {config['evaluation']['normalize_on']}", step)
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
    score = scoring(state).score_comparisons
    temperatures = fit_temperatures(data.validation, score(data.validation).raw, heads, link) if link else {}
    scores, cut = score(data.test)
    resampling = {"bootstrap": config["evaluation"]["bootstrap"], "seed": config["seed"]}
    result = evaluate_heads(data.test, scores, heads, **resampling, temperatures=temperatures, link=link)
    result["truncation"] = Truncation.of(cut).to_json()
    if leads():
        figures.training_curve(run.figure("training.png"), run.metrics())
        for z, head in enumerate(heads):
            mine = [i for i, comparison in enumerate(data.test) if head_index(comparison, heads) == z]
            own = [data.test[i] for i in mine], [scores[i][:, z] for i in mine]
            title = f"{head} on {config['data']['eval']}"
            figures.reward_histogram(run.figure(f"rewards-{head}.png"), *own, title)
            if link:
                figures.reliability_diagram(run.figure(f"reliability-{head}.png"), result["calibration"][head], title)
    if config["gate"]:
        if scorer.contract.gate is None:  # stopped between the last checkpoint and here
            sealed(state, 0)  # the step plays no part
        by_gate = [score_Kx1[:, 0] for score_Kx1 in GatedModel(scoring(state)).score_comparisons(data.test).raw]
        drawn = Resampling(config["evaluation"]["bootstrap"], config["seed"])
        fitted = collections.Counter(comparison.head for comparison in data.validation)
        fitted = {head: fitted[head] for head in config["gate"]}
        measured = evaluate_gate(scorer.contract.gate, data.test, by_gate, scores, heads, drawn, fitted)
        result["gate"] = json_safe(measured)
    worst = mistakes.worst_mistakes(data.test, scores, heads, mistakes.COUNT)
    write_text(run.path / "mistakes.jsonl", mistakes.as_lines(worst))
    write_json(run.evaluation, {"data": config["data"]["eval"], "parameters": parameter_count(model), **result})
    return result


def link_of(loss: LossConfig) -> Link:
    """The link of the scores that a loss trains."""
    if loss.name == "squared_error":
        return NO_ODDS
    return Link("rao_kupper", loss.tie_threshold) if loss.ties == "rao_kupper" else BRADLEY_TERRY
