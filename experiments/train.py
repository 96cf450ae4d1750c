"""A reward model from human judgements: data, audit, SFT start, training, evaluation, figures.

python experiments/train.py --config=configs/helpful.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cli
import jax
from materials import (
    Config,
    Judgements,
    Start,
    begin_at_random,
    begin_from,
    fingerprint,
    make_tokenizer,
    read_demonstrations,
    read_judgements,
    texts_of,
)
from sft import train_language_model
from stages import Stage, compute_dtype, make_contract, run_stage

from rmjax.data.comparisons import Comparison
from rmjax.data.examples import PairRule, encode_comparisons, head_index
from rmjax.data.packing import PackedBatch
from rmjax.errors import InputError
from rmjax.evaluation import figures
from rmjax.evaluation.evaluate import evaluate, summary
from rmjax.models.parallel import make_layout
from rmjax.models.reward import RewardTransformer
from rmjax.scoring.reward_model import RewardModel
from rmjax.scoring.seal import reference_texts, seal
from rmjax.training.losses import MARGINS
from rmjax.training.objectives import LossConfig, ranking_objective, rating_objective
from rmjax.training.run import RunDirectory, write_json
from rmjax.training.step import TrainState

NEXT = """Everything is in {workdir}: evaluation.json, metrics.jsonl, figures/, checkpoints/.
Score your own text:
    python -c "import rmjax; print(rmjax.load('{workdir}').score('Hi, how are you?', 'I am doing great, and you?'))"
    python experiments/score.py --checkpoint={workdir} --input=IN.jsonl --output=OUT.jsonl"""


def main() -> None:
    config, workdir = cli.config_dict(), cli.workdir()
    run = RunDirectory(workdir, config)
    if run.finished:
        print(f"{workdir} is finished: nothing to do. Its results:\n")
        print(summary(run.read_evaluation()))
        return
    judgements = read_judgements(config)
    start = begin(config, run, judgements)
    result = train_reward_model(config, workdir, start, judgements)
    print(f"\nOn {config['data']['eval']}, prompts it has never seen:\n\n{summary(result)}\n")
    print(NEXT.format(workdir=workdir))


def begin(config: Config, run: RunDirectory, judgements: Judgements) -> Start:
    """The start that `config.init` names; for `sft` it is trained here, in the folder `sft` of the run."""
    if config["init"] not in ("sft", "random"):
        return begin_from(config, Path(config["init"]))
    spec = config["data"]["sft"] or config["data"]["train"]
    demonstrations = read_demonstrations(config, spec)
    start = begin_at_random(config, make_tokenizer(config, texts_of(demonstrations[0], judgements.train)))
    if config["init"] == "random":
        return start
    stage = {
        "seed": config["seed"],
        "data": {**config["data"], "train": spec},
        "tokenizer": config["tokenizer"],
        "model": config["model"],
        "train": config["sft"],
        "parallel": config["parallel"],
    }
    train_language_model(stage, run.path / "sft", start, demonstrations)
    return begin_from(config, run.path / "sft")


def train_reward_model(config: Config, workdir: Path, start: Start, judgements: Judgements) -> dict[str, Any]:
    """Trains and evaluates a reward model.

    Returns:
        The contents of its `evaluation.json`.
    """
    run = RunDirectory(workdir, config)
    heads, settings, loss = tuple(config["heads"]), config["train"], LossConfig(**config["loss"])
    if loss.name == "squared_error":
        require_ratings(judgements)
    layout = make_layout(**config["parallel"])
    model = RewardTransformer(start.trunk, heads, compute_dtype(config))

    def apply(params: Any, batch: PackedBatch) -> jax.Array:
        return model.apply({"params": params}, batch)

    rule = PairRule(keep_ties=loss.ties != "skip", margins=MARGINS.get(loss.margin), given=loss.margin == "given")
    contract = make_contract(
        "reward_model", heads, config, start, config["data"]["train"], fingerprint(judgements.train)
    )
    held_out = judgements.validation or judgements.train
    references = reference_texts(held_out, heads, config["evaluation"]["references"])
    source = "held-out responses" if judgements.validation else "training responses"
    scorer = RewardModel(None, contract, start.tokenizer, layout)

    def scoring(state: TrainState) -> RewardModel:
        scorer.params = state.params
        return scorer

    def measure(state: TrainState, comparisons: Sequence[Comparison], bootstrap: int) -> dict[str, Any]:
        score = scoring(state).score_comparisons
        return evaluate(score, comparisons, heads, bootstrap=bootstrap, seed=config["seed"])

    def validate(state: TrainState) -> dict[str, float]:
        if not judgements.validation:
            return {}
        result = measure(state, judgements.validation, bootstrap=0)
        return {"validation_loss": result["loss"], "validation_accuracy": result["accuracy"]}

    stage = Stage(
        title="reward model",
        unit="comparisons",
        model=model,
        start=start,
        objective=rating_objective(apply) if loss.name == "squared_error" else ranking_objective(apply, loss),
        examples=encode_comparisons(judgements.train, start.tokenizer, heads, rule),
        evaluate=validate,
        seal=lambda state, step: seal(scoring(state), references, source, step),
    )
    state = run_stage(stage, config, settings, run, layout)
    result = measure(state, judgements.test, config["evaluation"]["bootstrap"])
    figures.training_curve(run.figure("training.png"), run.metrics())
    for z, head in enumerate(heads):
        mine = [c for c in judgements.test if head_index(c, heads) == z]
        if mine:
            scores = scoring(state).score_comparisons(mine, head)
            figures.reward_histogram(
                run.figure(f"rewards-{head}.png"), mine, scores, f"{head} on {config['data']['eval']}"
            )
    write_json(run.evaluation, {"data": config["data"]["eval"], **result})
    return result


def require_ratings(judgements: Judgements) -> None:
    """Raises InputError unless every training comparison states absolute scores."""
    for comparison in judgements.train:
        if comparison.scores is None:
            raise InputError(f'{comparison.origin}: loss.name=squared_error needs "scores", this comparison has none')


if __name__ == "__main__":
    cli.define_config()
    cli.run(main)
