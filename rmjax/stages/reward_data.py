"""Everything a reward-model run needs of its data, checked before anything is trained or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from rmjax.data.audit import DataAudit
from rmjax.data.batch import Example
from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.data.examples import PairRule, encode_comparisons
from rmjax.errors import InputError
from rmjax.scoring.finalize import References, demonstration_texts, reference_texts
from rmjax.stages.checks import check_gate, check_ratings, check_safety_labels, check_splits
from rmjax.stages.datasets import (
    ComparisonSplits,
    Config,
    SftExamples,
    audit_splits,
    check_demonstrations,
    fingerprint,
    load_splits,
    read_demonstrations,
    sft_examples,
    texts_of,
)
from rmjax.stages.initialization import Initialization, initialize, is_pretrained
from rmjax.training.losses import MARGINS
from rmjax.training.objectives import LossConfig


@dataclasses.dataclass(frozen=True)
class RewardData:
    """What a run learns from and is measured by.

    What it learns from stands here as ids alone: the texts take several times their room, and nothing needs them any
    more once they have been counted and tokenized.

    Attributes:
        start: tokenizer and trunk.
        examples: the training comparisons, with the pairs that the loss uses.
        sft: the demonstrations, where SFT comes first.
        validation: comparisons to follow training by.
        test: comparisons for the evaluation.
        references: what the normalized scale and the canaries are taken from.
        audit: what was read.
        fingerprints: of every set, by name.
    """

    start: Initialization
    examples: list[Example]
    sft: SftExamples | None
    validation: list[Comparison]
    test: list[Comparison]
    references: References
    audit: DataAudit
    fingerprints: dict[str, dict[str, Any]]


def prepare(config: Config, loss: LossConfig) -> RewardData:
    """Reads, checks, counts and tokenizes.

    Raises:
        InputError: something is wrong with the data, or with a setting that concerns them.
    """
    if config["evaluation"]["references"] < 2:
        raise InputError(f"evaluation.references must be at least 2, found {config['evaluation']['references']}")
    if config["train"]["select"] == "best" and loss.name == "squared_error":
        raise InputError("train.select=best needs a validation loss, which loss.name=squared_error does not have")
    judgements = load_splits(config)
    check_splits(judgements, config["heads"])
    check_gate(config)
    check_ratings(judgements.train, loss)
    check_safety_labels(judgements.train, loss)
    fingerprints = {name: fingerprint(getattr(judgements, name)) for name in ("train", "validation", "test")}
    demonstrations: tuple[list[Demonstration], list[Demonstration]] = ([], [])
    learns_from_them = config["init"] == "sft" or (config["init"] == "random" and not is_pretrained(config))
    if learns_from_them or config["evaluation"]["normalize_on"] == "demonstrations":
        demonstrations = read_demonstrations(config, sft_source(config))
        check_demonstrations(config, demonstrations[0], judgements)
        fingerprints["sft"] = fingerprint(demonstrations[0])
    elif config["data"]["sft"]:
        raise InputError(f"data.sft is set, but init={config['init']} needs no demonstrations: leave data.sft empty")
    references = load_references(config, judgements, demonstrations[1])
    start = initialize(config, lambda: texts_of(demonstrations[0], judgements.train), config["heads"])
    audit, encoded = audit_splits(config, judgements, start.tokenizer)
    margins = None if loss.margin in ("none", "given") else MARGINS[loss.margin]
    rule = PairRule(keep_ties=loss.ties != "skip", margins=margins, given=loss.margin == "given")
    examples = encode_comparisons(judgements.train, start.tokenizer, config["heads"], rule, encoded["train"])
    return RewardData(
        start=start,
        examples=standardize_ratings(examples) if loss.name == "squared_error" else examples,
        sft=sft_examples(demonstrations, start.tokenizer) if config["init"] == "sft" else None,
        validation=judgements.validation,
        test=judgements.test,
        references=references,
        audit=audit,
        fingerprints=fingerprints,
    )


def sft_source(config: Config) -> str:
    """Where the demonstrations come from."""
    return config["data"]["sft"] or config["data"]["train"]


def load_references(
    config: Config, judgements: ComparisonSplits, demonstrations: Sequence[Demonstration]
) -> References:
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


def standardize_ratings(examples: Sequence[Example]) -> list[Example]:
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
