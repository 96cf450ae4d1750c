"""A reward model from human judgements: data, audit, SFT start, training, evaluation, figures.

python experiments/train.py --config=configs/helpful.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cli
import jax
import numpy as np
from checks import check_gate, check_judgements, check_ratings, check_safety_labels, check_settings, compute_dtype
from materials import (
    Config,
    Judgements,
    audit_judgements,
    check_demonstrations,
    fingerprint,
    read_demonstrations,
    read_judgements,
    texts_of,
)
from sft import train_language_model
from stages import Stage, make_contract, run_stage
from starts import Start, begin, begin_from, is_pretrained

from rmjax.data.comparisons import Demonstration
from rmjax.data.examples import PairRule, encode_comparisons, head_index
from rmjax.data.packing import Example, PackedBatch
from rmjax.errors import InputError
from rmjax.evaluation import figures, mistakes
from rmjax.evaluation.calibration import fit_temperatures
from rmjax.evaluation.evaluate import evaluate, evaluate_heads
from rmjax.evaluation.summary import summary
from rmjax.models.parallel import leads, make_layout
from rmjax.models.reward import RewardTransformer
from rmjax.models.transformer import parameter_count
from rmjax.scoring.contract import Contract
from rmjax.scoring.gate import GatedModel, fit_gate
from rmjax.scoring.reward_model import RewardModel
from rmjax.scoring.seal import reference_texts, seal
from rmjax.training.losses import MARGINS
from rmjax.training.objectives import LossConfig, ranking_objective, rating_objective
from rmjax.training.run import RunDirectory, write_json, write_text
from rmjax.training.step import TrainState

NEXT = """Everything is in {workdir}: evaluation.json, metrics.jsonl, figures/, checkpoints/.
Score your own text:
    python -c "import rmjax; print(rmjax.load('{workdir}').score('Hi, how are you?', 'Great, and you?'{head}))"
    python experiments/score.py --checkpoint={workdir} --input=IN.jsonl --output=OUT.jsonl{flag}"""


def main() -> None:
    run_config(cli.config_dict(), cli.workdir())


def run_config(config: Config, workdir: Path) -> None:
    """One run from its configuration to its results; resumes what was interrupted, leaves alone what is finished."""
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{workdir} is finished: nothing to do. Its results:\n\n{summary(run.read_evaluation())}")
        return
    print(f"Run directory: {workdir}\n")
    # Everything that can be wrong with the input is found here, before anything is trained or written.
    check_settings(config, "train", "sft")
    if config["evaluation"]["references"] < 2:
        raise InputError(f"evaluation.references must be at least 2, found {config['evaluation']['references']}")
    loss = LossConfig(**config["loss"])
    judgements = read_judgements(config)
    check_judgements(judgements, config["heads"])
    check_gate(config)
    check_ratings(judgements.train, loss)
    check_safety_labels(judgements.train, loss)
    fingerprints = {name: fingerprint(getattr(judgements, name)) for name in ("train", "validation", "test")}
    demonstrations: tuple[list[Demonstration], list[Demonstration]] = ([], [])
    if config["init"] == "sft" or (config["init"] == "random" and not is_pretrained(config)):
        source = config["data"]["sft"] or config["data"]["train"]
        demonstrations = read_demonstrations(config, source)
        check_demonstrations(config, demonstrations[0], judgements)
        fingerprints["sft"] = fingerprint(demonstrations[0])
    elif config["data"]["sft"]:
        raise InputError(f"data.sft is set, but init={config['init']} needs no demonstrations: leave data.sft empty")
    start = begin(config, lambda: texts_of(demonstrations[0], judgements.train), config["heads"])
    audit, encoded = audit_judgements(config, judgements, start.tokenizer)
    margins = None if loss.margin in ("none", "given") else MARGINS[loss.margin]
    rule = PairRule(keep_ties=loss.ties != "skip", margins=margins, given=loss.margin == "given")
    examples = encode_comparisons(judgements.train, start.tokenizer, config["heads"], rule, encoded["train"])
    if loss.name == "squared_error":
        examples = standardized(examples)

    run.create(fingerprints)
    write_json(run.path / "data_audit.json", audit.to_json())
    if config["init"] == "sft":
        print(f"Stage 1 of 2: a language model on {len(demonstrations[0])} demonstrations of {source} (SFT)")
        train_language_model(sft_config(config, source), run.path / "sft", start, demonstrations)
        start = begin_from(config, run.path / "sft")
        print("Stage 2 of 2: the reward model, from its weights")
    result = train_reward_model(config, run, start, judgements, examples, loss)
    print(f"\nOn {config['data']['eval']}, held out:\n\n{summary(result)}\n")
    one = len(config["heads"]) == 1
    head = config["heads"][0]
    print(NEXT.format(workdir=workdir, head="" if one else f", head='{head}'", flag="" if one else f" --head={head}"))


def sft_config(config: Config, source: str) -> Config:
    """The configuration of the SFT stage inside a reward-model run, as its own run directory records it."""
    return {
        "seed": config["seed"],
        "init": "pretrained" if is_pretrained(config) else "random",
        "data": {"train": source, "holdout": config["data"]["holdout"], "manual_dir": config["data"]["manual_dir"]},
        "tokenizer": config["tokenizer"],
        "model": config["model"],
        "train": config["sft"],
        "parallel": config["parallel"],
    }


def standardized(examples: Sequence[Example]) -> list[Example]:
    """The examples with the ratings of each head at mean 0 and standard deviation 1: a causal head has no bias to
    learn a mean with, and raters' scales are their own."""
    result = list(examples)
    for head in {example.head for example in examples}:
        ratings = np.concatenate([example.ratings for example in examples if example.head == head])
        mean, std = ratings.mean(), ratings.std() or 1.0
        for i, example in enumerate(result):
            if example.head == head:
                result[i] = dataclasses.replace(example, ratings=(example.ratings - mean) / std)
    return result


def train_reward_model(
    config: Config,
    run: RunDirectory,
    start: Start,
    judgements: Judgements,
    examples: Sequence[Example],
    loss: LossConfig,
) -> dict[str, Any]:
    """Trains and evaluates a reward model.

    Args:
        config: the whole configuration.
        run: its run directory.
        start: tokenizer and trunk.
        judgements: comparisons for training, validation and test.
        examples: the training comparisons as ids, with the pairs that the loss uses.
        loss: the loss.

    Returns:
        The contents of its `evaluation.json`.
    """
    heads = tuple(config["heads"])
    layout = make_layout(**config["parallel"])
    model = RewardTransformer(start.trunk, heads, compute_dtype(config), config["train"]["remat"])

    def apply(params: Any, batch: PackedBatch) -> jax.Array:
        return model.apply({"params": params}, batch)

    data = fingerprint(judgements.train)
    contract = make_contract("reward_model", heads, config, start, config["data"]["train"], data)
    references = reference_texts(judgements.validation, heads, config["evaluation"]["references"])
    scorer = RewardModel(None, contract, start.tokenizer, layout)

    def scoring(state: TrainState) -> RewardModel:
        scorer.params = state.params
        return scorer

    def validate(state: TrainState) -> dict[str, float]:
        score = scoring(state).score_comparisons
        measured = evaluate(score, judgements.validation, heads, bootstrap=0, seed=0)["heads"].values()
        pairs = sum(head["pairs"] for head in measured)
        return {
            f"validation_{name}": sum(head[name] * head["pairs"] for head in measured) / pairs
            for name in ("loss", "accuracy")
        }

    def sealed(state: TrainState, step: int) -> Contract:
        contract = seal(scoring(state), references, "held-out responses", step)
        if not config["gate"]:
            return contract
        helpful, safety = config["gate"]
        found = {"helpful": helpful, "safety": safety, "source": "held-out comparisons"}
        gate = fit_gate(scoring(state), contract.normalization, judgements.validation, **found)
        return dataclasses.replace(contract, gate=gate)

    stage = Stage(
        title="reward model",
        unit="comparisons",
        model=model,
        start=start,
        objective=rating_objective(apply) if loss.name == "squared_error" else ranking_objective(apply, loss),
        examples=examples,
        evaluate=validate,
        seal=sealed,
    )
    state = run_stage(stage, config, config["train"], run, layout)
    score = scoring(state).score_comparisons
    temperatures = fit_temperatures(judgements.validation, score(judgements.validation), heads)
    scores = score(judgements.test)
    resampling = {"bootstrap": config["evaluation"]["bootstrap"], "seed": config["seed"]}
    result = evaluate_heads(judgements.test, scores, heads, **resampling, temperatures=temperatures)
    if leads():
        figures.training_curve(run.figure("training.png"), run.metrics())
        for z, head in enumerate(heads):
            mine = [i for i, comparison in enumerate(judgements.test) if head_index(comparison, heads) == z]
            own = [judgements.test[i] for i in mine], [scores[i][:, z] for i in mine]
            title = f"{head} on {config['data']['eval']}"
            figures.reward_histogram(run.figure(f"rewards-{head}.png"), *own, title)
            figures.reliability_diagram(run.figure(f"reliability-{head}.png"), result["calibration"][head], title)
    if config["gate"]:
        scorer.contract = sealed(state, 0)  # the step plays no part
        judged = evaluate(GatedModel(scoring(state)).score_comparisons, judgements.test, ("gate",), **resampling)
        result["gate"] = {**vars(scorer.contract.gate), "labels": judged.get("labels", {}), **judged["heads"]["gate"]}
    worst = mistakes.worst_mistakes(judgements.test, scores, heads, mistakes.COUNT)
    write_text(run.path / "mistakes.jsonl", mistakes.as_lines(worst))
    write_json(run.evaluation, {"data": config["data"]["eval"], "parameters": parameter_count(model), **result})
    return result


if __name__ == "__main__":
    cli.define_config()
    cli.run(main)
