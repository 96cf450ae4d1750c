"""A reward model from human judgements: data, audit, SFT start, training, evaluation, figures.

python experiments/train.py --config=configs/helpful.py
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Sequence
from pathlib import Path

import cli
import numpy as np
from checks import check_gate, check_judgements, check_ratings, check_safety_labels, check_settings
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
from reward_stage import train_reward_model
from sft import train_language_model
from starts import begin, begin_from, is_pretrained

from rmjax.data.comparisons import Demonstration
from rmjax.data.examples import PairRule, encode_comparisons
from rmjax.data.packing import Example
from rmjax.errors import InputError
from rmjax.evaluation.summary import summary
from rmjax.scoring.seal import References, demonstration_texts, reference_texts
from rmjax.training.losses import MARGINS
from rmjax.training.objectives import LossConfig
from rmjax.training.run import RunDirectory, write_json

NEXT = """Everything is in {workdir}: evaluation.json, metrics.jsonl, figures/, checkpoints/.
On one page:
    python experiments/report.py --workdir={workdir}
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
    learns_from_them = config["init"] == "sft" or (config["init"] == "random" and not is_pretrained(config))
    if learns_from_them or config["evaluation"]["normalize_on"] == "demonstrations":
        source = config["data"]["sft"] or config["data"]["train"]
        demonstrations = read_demonstrations(config, source)
        check_demonstrations(config, demonstrations[0], judgements)
        fingerprints["sft"] = fingerprint(demonstrations[0])
    elif config["data"]["sft"]:
        raise InputError(f"data.sft is set, but init={config['init']} needs no demonstrations: leave data.sft empty")
    references = references_of(config, judgements, demonstrations[1])
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
        gc.collect()  # what it leaves on the devices; by itself this would come late, see `cli.collect_seldom`
        start = begin_from(config, run.path / "sft")
        print("Stage 2 of 2: the reward model, from its weights")
    result = train_reward_model(config, run, start, judgements, references, examples, loss)
    print(f"\nOn {config['data']['eval']}, held out:\n\n{summary(result)}\n")
    one = len(config["heads"]) == 1
    head = config["heads"][0]
    print(NEXT.format(workdir=workdir, head="" if one else f", head='{head}'", flag="" if one else f" --head={head}"))


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


def references_of(config: Config, judgements: Judgements, demonstrations: Sequence[Demonstration]) -> References:
    """The held-out texts that `evaluation.normalize_on` names, by head.

    Raises:
        InputError: there is no such kind.
    """
    kind, count = config["evaluation"]["normalize_on"], config["evaluation"]["references"]
    if kind == "responses":
        return reference_texts(judgements.validation, config["heads"], count)
    if kind == "demonstrations":
        return demonstration_texts(demonstrations, config["heads"], count)
    raise InputError(f"unknown evaluation.normalize_on {kind!r}: known are responses and demonstrations")


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


if __name__ == "__main__":
    cli.define_config()
    cli.run(main)
