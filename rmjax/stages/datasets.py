"""What a run learns from and is measured by: judgements and demonstrations, read, checked and counted."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from rmjax.data.ablations import (
    NEGLIGIBLE,
    PAIRS,
    first_responses,
    flip_labels,
    negligible_as_ties,
    shift_ratings,
    split_into_pairs,
)
from rmjax.data.audit import DataAudit, Lengths, audit
from rmjax.data.batch import Example
from rmjax.data.comparisons import Comparison, Demonstration
from rmjax.data.examples import Groups, encode_demonstrations
from rmjax.data.hold_out import hold_out
from rmjax.data.leaks import check_leaks
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.data.token_cache import cached_groups
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError

Config = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ComparisonSplits:
    """The comparisons of a run, and what was remarked while reading them."""

    train: list[Comparison]
    validation: list[Comparison]
    test: list[Comparison]
    notes: dict[str, dict[str, int]]


def load_splits(config: Config) -> ComparisonSplits:
    """Every comparison a run needs, validated, before anything is trained.

    Raises:
        InputError: a source cannot be read.
    """
    data = config["data"]
    notes = {name: collections.Counter() for name in ("train", "validation", "test")}

    def load(field: str, role: str) -> list[Comparison]:
        return load_comparisons(data[field], role, manual_dir=data["manual_dir"], notes=notes[role])

    train, test = load("train", "train"), load("eval", "test")
    if data["validation"]:
        validation = load("validation", "validation")
    else:
        train, validation = hold_out(train, data["holdout"])
    train = apply_ablations(train, data)
    return ComparisonSplits(train, validation, test, {name: dict(count) for name, count in notes.items()})


def apply_ablations(train: list[Comparison], data: Config) -> list[Comparison]:
    """The training comparisons as the settings of an ablation change them; evaluation sets stay as they are.

    Raises:
        InputError: a setting has no meaning.
    """
    if data["pairs"] not in PAIRS:
        raise InputError(f"unknown data.pairs {data['pairs']!r}: known are {', '.join(PAIRS)}")
    if data["negligible"] not in NEGLIGIBLE:
        raise InputError(f"unknown data.negligible {data['negligible']!r}: known are {', '.join(NEGLIGIBLE)}")
    train = first_responses(train, data["responses"]) if data["responses"] else train
    train = shift_ratings(flip_labels(train, data["flipped"]), data["rater_bias"])
    train = split_into_pairs(train) if data["pairs"] == "apart" else train
    return negligible_as_ties(train) if data["negligible"] == "tied" else train


def audit_splits(
    config: Config, judgements: ComparisonSplits, tokenizer: Tokenizer
) -> tuple[DataAudit, dict[str, Groups]]:
    """Counts what was read, prints it with a warning of leaks, and gives the ids made on the way, by set.

    Raises:
        InputError: two sets share prompts that they must not share, and `data.refuse_leaks` is set.
    """
    sets = {"train": judgements.train, "validation": judgements.validation, "test": judgements.test}
    encoded = {
        name: cached_groups([c.prompt for c in comparisons], [c.responses for c in comparisons], tokenizer)
        for name, comparisons in sets.items()
    }
    lengths = {name: Lengths.of(comparisons, *encoded[name]) for name, comparisons in sets.items()}
    evaluation = {name: comparisons for name, comparisons in sets.items() if name != "train"}
    report = audit(judgements.train, evaluation, lengths=lengths, notes=judgements.notes)
    print(report.to_text(), end="\n\n")
    if warning := check_leaks(report.leaks, config["data"]["refuse_leaks"]):
        print(f"warning: {warning}\n", file=sys.stderr)
    return report, encoded


def read_demonstrations(config: Config, spec: str) -> tuple[list[Demonstration], list[Demonstration]]:
    """The demonstrations that `spec` names: (to learn from, held out).

    Raises:
        InputError: the source cannot be read.
    """
    data = config["data"]
    demonstrations = load_demonstrations(spec, "train", manual_dir=data["manual_dir"])
    return hold_out(demonstrations, data["holdout"])


def check_demonstrations(config: Config, demonstrations: Sequence[Demonstration], judgements: ComparisonSplits) -> None:
    """Warns of demonstrations whose prompts are also evaluated on: SFT would learn the answers.

    Raises:
        InputError: there are some, and `data.refuse_leaks` is set.
    """
    learned = {demonstration.prompt for demonstration in demonstrations}
    for name, comparisons in (("validation", judgements.validation), ("test", judgements.test)):
        if shared := len(learned & {comparison.prompt for comparison in comparisons}):
            message = f"{shared} prompts of the {name} set stand among the demonstrations for SFT"
            if config["data"]["refuse_leaks"]:
                raise InputError(f"{message}: change data.sft, or accept it with data.refuse_leaks=False")
            print(f"warning: {message}: its results are too good to be true\n", file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class SftExamples:
    """What SFT learns from and is measured by, as ids, and the fingerprints of both."""

    learned: list[Example]
    held_out: list[Example]
    fingerprints: dict[str, dict[str, Any]]


def sft_examples(demonstrations: tuple[list[Demonstration], list[Demonstration]], tokenizer: Tokenizer) -> SftExamples:
    """The ids of demonstrations: (to learn from, held out)."""
    learned, held_out = (encode_demonstrations(some, tokenizer, cached_groups) for some in demonstrations)
    train, rest = map(fingerprint, demonstrations)
    return SftExamples(learned, held_out, {"train": train, "held_out": rest})


def texts_of(demonstrations: Sequence[Demonstration], comparisons: Sequence[Comparison]) -> list[str]:
    """All texts a tokenizer may learn from: every turn and every answer of the training data, never of a test set."""
    texts = [message.content for item in (*demonstrations, *comparisons) for message in item.prompt]
    texts += [demonstration.response for demonstration in demonstrations]
    return texts + [response for comparison in comparisons for response in comparison.responses]


def fingerprint(items: Sequence[Comparison] | Sequence[Demonstration]) -> dict[str, Any]:
    """How many items, and a sha256 over all of them in order: equal data have equal fingerprints, wherever they lay."""
    digest = hashlib.sha256()
    names = sorted(field.name for field in dataclasses.fields(items[0])) if items else []
    for item in items:
        values = {name: "" if name == "origin" else getattr(item, name) for name in names}
        digest.update(json.dumps(values).encode())
    return {"count": len(items), "sha256": digest.hexdigest()}
