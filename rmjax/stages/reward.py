"""A reward-model run: data, SFT stage, reward-model stage, evaluation, figures."""

from __future__ import annotations

import collections
import dataclasses
import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rmjax.data.audit import DataAudit
from rmjax.data.comparisons import head_index
from rmjax.errors import InputError
from rmjax.evaluation import mistakes
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.models.logprobs import next_token_model
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import LanguageModel, apply_fn, parameter_count
from rmjax.parallel.layout import Layout
from rmjax.parallel.processes import is_main_process
from rmjax.report import figures
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.finalize import finalize
from rmjax.scoring.gate import GatedModel, fit_gate
from rmjax.scoring.reward_model import Forward, RewardModel
from rmjax.scoring.run_checkpoints import list_checkpoints
from rmjax.stages.checks import check_sources
from rmjax.stages.evaluation import Evaluation, evaluate_model
from rmjax.stages.initialization import Initialization, init_from_sft_run
from rmjax.stages.parsing import parse, plain_dict
from rmjax.stages.reward_data import RewardData, load_reward_data
from rmjax.stages.settings import RunSettings
from rmjax.stages.sft import run_sft_stage
from rmjax.stages.stage import Stage, base_contract, planned_steps, run_stage
from rmjax.training.lock import locked
from rmjax.training.objectives import (
    JointModel,
    LossConfig,
    LossFn,
    joint_objective,
    link_of,
    ranking_objective,
    rating_objective,
)
from rmjax.training.run import RunDirectory, write_bytes, write_json, write_text
from rmjax.training.run_paths import RunPaths
from rmjax.training.step import TrainState


def train_reward_model(config: Mapping[str, Any], workdir: Path | str) -> dict[str, Any]:
    """Trains and evaluates a reward model from a configuration; resumes an interrupted run.

    Args:
        config: the fields of configs/helpful.py, as a dict or an `ml_collections.ConfigDict`.
        workdir: the run directory.

    Returns:
        The contents of its `evaluation.json`, also if the run was finished before.

    Raises:
        InputError: a setting or the data cannot be used.
    """
    config = plain_dict(config)
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{run.finished_in_words()} Its results:")
        return run.read_evaluation()
    settings = parse(RunSettings, config)
    check_sources(settings.data)
    print(f"Run directory: {run.path}\nReading and checking the data ...\n", flush=True)
    data = load_reward_data(settings)

    with locked(run.path):
        run.create(data.fingerprints, "reward_model")
        write_json(run.data_audit, data.audit.to_json())
        start = data.start
        if data.sft is not None:
            source = settings.sft_source
            first = planned_steps(len(data.sft.learned), settings.sft)
            both = first + planned_steps(len(data.examples), settings.train)
            done = ", which is finished" if RunPaths(run.path / "sft").finished else ""
            print(
                f"Stage 1 of 2: a language model on {len(data.sft.learned):,} demonstrations of {source} (SFT), "
                f"{first:,} steps of {both:,} in both stages{done}"
            )
            run_sft_stage(settings.sft_stage(), run.path / "sft", start, data.sft)
            gc.collect()  # frees what it leaves on the devices; Python would do so much later
            start = init_from_sft_run(settings, run.path / "sft")
            print(f"Stage 2 of 2: the reward model, from its weights, {both - first:,} steps of {both:,}")
        return run_reward_stage(settings, run, start, data)


def audit_reward_data(config: Mapping[str, Any]) -> DataAudit:
    """Reads, checks, counts and tokenizes the data of a run, prints the counts, and writes nothing.

    Args:
        config: as for `train_reward_model`.

    Raises:
        InputError: a setting or the data cannot be used.
    """
    settings = parse(RunSettings, plain_dict(config))
    check_sources(settings.data)
    print("Reading and checking the data ...\n", flush=True)
    return load_reward_data(settings).audit


def run_reward_stage(
    settings: RunSettings, run: RunDirectory, start: Initialization, data: RewardData
) -> dict[str, Any]:
    """Trains and evaluates a reward model, and writes its results and figures.

    Args:
        settings: the settings.
        run: its run directory.
        start: tokenizer and initial trunk: those of `data`, or of the SFT stage.
        data: training data and held-out data.

    Returns:
        The contents of its `evaluation.json`.
    """
    layout = settings.parallel.make_layout()
    head = settings.head_config(start.trunk)
    module = RewardTransformer(start.trunk, head, settings.model.dtype, settings.train.remat)
    monitor = Monitor.create(settings, start, data, layout)
    stage = Stage(
        title="reward model",
        unit="comparisons",
        settings=settings.train,
        seed=settings.seed,
        weights_seed=settings.weights_seed,
        loggers=settings.loggers,
        model=module,
        start=start,
        objective=make_objective(module, settings.loss),
        examples=data.examples,
        evaluate=monitor.validate,
        make_contract=monitor.make_contract,
    )
    state = run_stage(stage, run, layout)
    # The contract that was saved with these parameters has the normalization and the gate.
    contract = read_contract(list_checkpoints(run.checkpoints)[-1] / "contract.json")
    model = monitor.model(state, contract)
    fitted = collections.Counter(comparison.head for comparison in data.validation)
    evaluation = evaluate_model(
        model,
        data.test,
        data.validation if model.link.has_odds else (),
        bootstrap=settings.evaluation.bootstrap,
        seed=settings.seed,
        mistakes=mistakes.COUNT,
        gate=GatedModel(model) if settings.gate else None,
        gate_fitted_on={head: fitted[head] for head in settings.gate},
    )
    if is_main_process():
        draw_figures(run, settings, data, evaluation)
    write_text(run.mistakes, mistakes.as_lines(evaluation.mistakes))
    write_bytes(run.outcomes, evaluation.outcomes.to_bytes())
    result = {"data": settings.data.reported, "parameters": parameter_count(module), **evaluation.metrics}
    run.finish(result)
    return result


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Scores of training states: metrics on the validation data, and the contracts of checkpoints.

    All states share the compiled forward passes.
    """

    settings: RunSettings
    data: RewardData
    start: Initialization
    layout: Layout
    contract: Contract
    forward: Forward

    @classmethod
    def create(cls, settings: RunSettings, start: Initialization, data: RewardData, layout: Layout) -> Monitor:
        """Returns the monitor of a stage."""
        learned = data.fingerprints["train"]
        contract = base_contract(
            "reward_model", settings.head_config(start.trunk), settings, start, settings.data.train, learned
        )
        contract = dataclasses.replace(contract, link=link_of(settings.loss))
        return cls(settings, data, start, layout, contract, Forward.create(contract, layout))

    def model(self, state: TrainState, contract: Contract | None = None) -> RewardModel:
        """Returns the reward model of a state on the devices."""
        return RewardModel(state.params, contract or self.contract, self.start.tokenizer, self.layout, self.forward)

    def validate(self, state: TrainState) -> dict[str, float]:
        """Returns loss and accuracy on the validation data, over all pairs; no loss if the scores have no odds."""
        heads, validation, link = self.settings.heads, self.data.validation, self.contract.link
        scores = self.model(state).score_comparisons(validation).raw
        log_odds = link.log_odds if link.has_odds else None
        results = evaluate_heads(validation, scores, heads, bootstrap=0, seed=0, link=log_odds)["heads"].values()
        pairs = sum(head["pairs"] for head in results)
        return {
            f"validation_{name}": sum(head[name] * head["pairs"] for head in results) / pairs
            for name in (("loss", "accuracy") if link.has_odds else ("accuracy",))
        }

    def make_contract(self, state: TrainState, step: int) -> Contract:
        """Returns the contract of a state's checkpoint: normalization, canaries, and the gate if there is one."""
        model, settings = self.model(state), self.settings
        contract = finalize(model, self.data.references, f"held-out {settings.evaluation.normalize_on}", step)
        if not settings.gate:
            return contract
        helpful, safety = settings.gate
        names = {"helpful": helpful, "safety": safety, "source": "held-out comparisons"}
        gate = fit_gate(model, contract.normalization, self.data.validation, **names)
        return dataclasses.replace(contract, gate=gate)


def make_objective(module: RewardTransformer, loss: LossConfig) -> LossFn:
    """Returns the objective that the loss settings describe.

    Raises:
        InputError: `lm_coef` is set, and the trunk is an encoder, or its embeddings are not tied.
    """
    if loss.lm_coef:
        return joint_objective(joint_model(module), loss)
    apply = apply_fn(module)
    return rating_objective(apply) if loss.name == "squared_error" else ranking_objective(apply, loss)


def joint_model(module: RewardTransformer) -> JointModel:
    """Returns the parts of a reward model whose trunk is also a language model; errors as `make_objective`."""
    if not (module.config.causal and module.config.tie_embeddings):
        reason = "the embeddings of this one are not tied" if module.config.causal else "this one is an encoder"
        raise InputError(f"loss.lm_coef needs a causal trunk with tied embeddings, and {reason}: set it to 0")

    def method(name: str) -> Callable[..., Any]:
        return lambda params, *inputs: module.apply({"params": params}, *inputs, method=name)

    language = next_token_model(LanguageModel(module.config, module.dtype, module.remat))
    return JointModel(method("hidden"), method("score"), language)


def draw_figures(run: RunDirectory, settings: RunSettings, data: RewardData, evaluation: Evaluation) -> None:
    """Draws the training curve and, for every head, its rewards and its calibration."""
    heads = settings.heads
    if link_of(settings.loss).has_odds:
        figures.training_curve(run.figure("training.png"), run.metrics())
    else:
        chance = {"accuracy": figures.CHANCE_OF_PAIRS["accuracy"]}
        figures.training_curve(run.figure("training.png"), run.metrics(), loss_unit="", chance=chance)
    for z, head in enumerate(heads):
        mine = [i for i, comparison in enumerate(data.test) if head_index(comparison, heads) == z]
        own = [data.test[i] for i in mine], [evaluation.scores[i][:, z] for i in mine]
        title = f"{head} on {settings.data.reported}"
        figures.reward_histogram(run.figure(f"rewards-{head}.png"), *own, title)
        if reliability := evaluation.metrics["calibration"].get(head):
            figures.reliability_diagram(run.figure(f"reliability-{head}.png"), reliability, title)
