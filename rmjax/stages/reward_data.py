"""Data of a reward-model run: loaded, checked, counted and tokenized before anything is trained or written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rmjax.data.audit import DataAudit
from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.data.example_table import Examples
from rmjax.data.examples import PairRule, encode_comparisons
from rmjax.data.hold_out import eval_share
from rmjax.errors import InputError
from rmjax.scoring.finalize import References, demonstration_texts, reference_texts
from rmjax.stages.checks import check_labels, check_splits
from rmjax.stages.datasets import (
    ComparisonSplits,
    DemonstrationSplits,
    SftExamples,
    audit_splits,
    check_demonstrations,
    encode_sft,
    encode_splits,
    fingerprint,
    load_demonstration_splits,
    load_splits,
    training_texts,
)
from rmjax.stages.initialization import Initialization, initialize
from rmjax.stages.settings import RunSettings
from rmjax.training.losses import MARGINS
from rmjax.training.objectives import LossConfig


@dataclasses.dataclass(frozen=True)
class RewardData:
    """Data of a reward-model run.

    The training data are ids only: the texts take several times the memory, and nothing needs them after counting and
    tokenizing.

    Attributes:
        start: tokenizer and initial trunk.
        examples: the training comparisons, with the pairs that the loss uses.
        sft: the demonstrations, if the run begins with an SFT stage.
        validation: comparisons for evaluation during training.
        test: comparisons for the evaluation at the end.
        references: texts for the normalized scale and the canaries, by head.
        audit: counts of the data.
        fingerprints: of every split, by name.
    """

    start: Initialization
    examples: Examples
    sft: SftExamples | None
    validation: list[Comparison]
    test: list[Comparison]
    references: References
    audit: DataAudit
    fingerprints: dict[str, dict[str, Any]]


def load_reward_data(settings: RunSettings) -> RewardData:
    """Loads, checks, counts and tokenizes the data of a run.

    Raises:
        InputError: something is wrong with the data, or with a setting that concerns them.
    """
    data, loss, heads = settings.data, settings.loss, settings.heads
    splits = load_splits(data)
    check_splits(splits, heads)
    check_labels(splits.train, loss)
    fingerprints = {name: fingerprint(comparisons) for name, comparisons in splits.items()}
    demonstrations = DemonstrationSplits([], [])
    if needs_demonstrations(settings):
        # Otherwise SFT would learn the answers to prompts that were held out for the report.
        without = set() if eval_share(data.eval) is None else {comparison.prompt for comparison in splits.test}
        demonstrations = load_demonstration_splits(settings.sft_source, data, without)
        check_demonstrations(demonstrations.learned, splits, refuse_leaks=data.refuse_leaks)
        fingerprints["sft"] = fingerprint(demonstrations.learned)
    elif data.sft:
        raise InputError(f"data.sft is set, but init={settings.init} needs no demonstrations: leave data.sft empty")
    references = load_references(settings, splits, demonstrations.held_out)

    start = initialize(settings, lambda: training_texts(demonstrations.learned, splits.train), heads)
    encoded = encode_splits(splits, start.tokenizer)
    audit = audit_splits(splits, encoded, refuse_leaks=data.refuse_leaks)
    examples = encode_comparisons(splits.train, start.tokenizer, heads, pair_rule(loss), encoded["train"])
    return RewardData(
        start=start,
        examples=examples.standardized() if loss.name == "squared_error" else examples,
        sft=encode_sft(demonstrations, start.tokenizer) if settings.init == "sft" else None,
        validation=splits.validation,
        test=splits.test,
        references=references,
        audit=audit,
        fingerprints=fingerprints,
    )


def needs_demonstrations(settings: RunSettings) -> bool:
    """Returns True if SFT, the training of a tokenizer, or the normalized scale uses demonstrations."""
    trains_tokenizer = settings.init == "random" and not settings.model.pretrained
    return settings.init == "sft" or trains_tokenizer or settings.evaluation.normalize_on == "demonstrations"


def pair_rule(loss: LossConfig) -> PairRule:
    """Returns the rule that chooses the pairs and margins of a comparison for a loss."""
    margins = None if loss.margin in ("none", "given") else MARGINS[loss.margin]
    return PairRule(keep_ties=loss.ties != "skip", margins=margins, given=loss.margin == "given")


def load_references(
    settings: RunSettings, splits: ComparisonSplits, demonstrations: Sequence[Demonstration]
) -> References:
    """Returns the held-out texts that `evaluation.normalize_on` names, by head."""
    count = settings.evaluation.references
    if settings.evaluation.normalize_on == "demonstrations":
        return demonstration_texts(demonstrations, settings.heads, count)
    return reference_texts(splits.validation, settings.heads, count)
