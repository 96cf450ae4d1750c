"""Data of a run: loads, validates, and audits comparisons and demonstrations."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rmjax.data.ablations import first_responses, flip_labels, negligible_as_ties, shift_ratings, split_into_pairs
from rmjax.data.audit import DataAudit, Lengths, audit
from rmjax.data.comparisons import Comparison, Demonstration, Prompt
from rmjax.data.example_table import Examples
from rmjax.data.examples import encode_demonstrations
from rmjax.data.hold_out import eval_share, hold_out
from rmjax.data.leaks import check_leaks
from rmjax.data.sources import load_comparisons, load_demonstrations
from rmjax.data.token_cache import cached_groups
from rmjax.data.token_groups import TokenGroups
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.stages.data_settings import DataSettings, SftDataSettings


@dataclasses.dataclass(frozen=True)
class ComparisonSplits:
    """Comparisons of a run, and remarks on their files by split."""

    train: list[Comparison]
    validation: list[Comparison]
    test: list[Comparison]
    notes: dict[str, dict[str, int]]

    def items(self) -> Iterator[tuple[str, list[Comparison]]]:
        """Yields (name, comparisons) of every split."""
        for name in ("train", "validation", "test"):
            yield name, getattr(self, name)


def load_splits(data: DataSettings) -> ComparisonSplits:
    """Loads every comparison of a run; the training comparisons are changed as the ablation settings say.

    Raises:
        InputError: a source cannot be read.
    """
    notes: dict[str, collections.Counter[str]] = {
        name: collections.Counter() for name in ("train", "validation", "test")
    }

    def load(source: str, role: str) -> list[Comparison]:
        return load_comparisons(source, role, manual_dir=data.manual_dir, notes=notes[role], reading=data.reading())

    train = load(data.train, "train")
    if (share := eval_share(data.eval)) is None:
        test = load(data.eval, "test")
    else:
        train, test = hold_out(train, share, "eval")
    if data.validation:
        validation = load(data.validation, "validation")
    else:
        train, validation = hold_out(train, data.holdout)
    train = apply_ablations(train, data)
    return ComparisonSplits(train, validation, test, {name: dict(count) for name, count in notes.items()})


def apply_ablations(train: list[Comparison], data: DataSettings) -> list[Comparison]:
    """Returns the training comparisons as the ablation settings change them; evaluation sets are never changed.

    Raises:
        InputError: a setting is out of its range.
    """
    train = first_responses(train, data.responses) if data.responses else train
    train = shift_ratings(flip_labels(train, data.flipped), data.rater_bias)
    train = split_into_pairs(train) if data.pairs == "apart" else train
    return negligible_as_ties(train) if data.negligible == "tied" else train


def encode_splits(splits: ComparisonSplits, tokenizer: Tokenizer) -> dict[str, TokenGroups]:
    """Returns the ids of prompts and responses, by split."""
    return {
        name: cached_groups([c.prompt for c in comparisons], [c.responses for c in comparisons], tokenizer)
        for name, comparisons in splits.items()
    }


def audit_splits(splits: ComparisonSplits, encoded: Mapping[str, TokenGroups], *, refuse_leaks: bool) -> DataAudit:
    """Counts the data, prints the counts, and warns of prompts that two splits share.

    Raises:
        InputError: two splits share prompts, and `refuse_leaks` is set.
    """
    lengths = {name: Lengths.of(comparisons, encoded[name]) for name, comparisons in splits.items()}
    evaluation = {"validation": splits.validation, "test": splits.test}
    report = audit(splits.train, evaluation, lengths=lengths, notes=splits.notes)
    print(report.to_text(), end="\n\n")
    if warning := check_leaks(report.leaks, refuse_leaks):
        print(f"warning: {warning}\n", file=sys.stderr)
    return report


@dataclasses.dataclass(frozen=True)
class DemonstrationSplits:
    """Demonstrations of a run: those to learn from, and those held out."""

    learned: list[Demonstration]
    held_out: list[Demonstration]


def load_demonstration_splits(
    source: str, data: DataSettings | SftDataSettings, without: Collection[Prompt] = ()
) -> DemonstrationSplits:
    """Loads the demonstrations of a source, leaves out those of the prompts in `without`, and holds some out.

    Raises:
        InputError: the source cannot be read.
    """
    loaded = load_demonstrations(source, "train", manual_dir=data.manual_dir, reading=data.reading())
    demonstrations = [demonstration for demonstration in loaded if demonstration.prompt not in without]
    return DemonstrationSplits(*hold_out(demonstrations, data.holdout))


def check_demonstrations(
    demonstrations: Sequence[Demonstration], splits: ComparisonSplits, *, refuse_leaks: bool
) -> None:
    """Warns of demonstrations whose prompts are evaluated on: SFT would learn the answers.

    Raises:
        InputError: there are some, and `refuse_leaks` is set.
    """
    learned = {demonstration.prompt for demonstration in demonstrations}
    for name, comparisons in (("validation", splits.validation), ("test", splits.test)):
        if shared := len(learned & {comparison.prompt for comparison in comparisons}):
            message = f"{shared} prompts of the {name} set are among the demonstrations for SFT"
            if refuse_leaks:
                raise InputError(f"{message}: change data.sft, or accept it with data.refuse_leaks=False")
            print(f"warning: {message}: its results are too good to be true\n", file=sys.stderr)


@dataclasses.dataclass(frozen=True)
class SftExamples:
    """Demonstrations as ids: those to learn from, those held out, and the fingerprints of both."""

    learned: Examples
    held_out: Examples
    fingerprints: dict[str, dict[str, Any]]


def encode_sft(demonstrations: DemonstrationSplits, tokenizer: Tokenizer) -> SftExamples:
    """Returns the ids of demonstrations."""
    return SftExamples(
        learned=encode_demonstrations(demonstrations.learned, tokenizer, cached_groups),
        held_out=encode_demonstrations(demonstrations.held_out, tokenizer, cached_groups),
        fingerprints={
            "train": fingerprint(demonstrations.learned),
            "held_out": fingerprint(demonstrations.held_out),
        },
    )


def training_texts(demonstrations: Sequence[Demonstration], comparisons: Sequence[Comparison]) -> list[str]:
    """Returns the texts that a tokenizer is trained on: every turn and every answer of the training data only."""
    items: list[Demonstration | Comparison] = [*demonstrations, *comparisons]
    texts = [message.content for item in items for message in item.prompt]
    texts += [demonstration.response for demonstration in demonstrations]
    return texts + [response for comparison in comparisons for response in comparison.responses]


def fingerprint(items: Sequence[Comparison] | Sequence[Demonstration]) -> dict[str, Any]:
    """Returns the number of items and a sha256 over all of them in order, without the files that they come from."""
    digest = hashlib.sha256()
    names = sorted(field.name for field in dataclasses.fields(items[0])) if items else []
    for item in items:
        values = {name: "" if name == "origin" else getattr(item, name) for name in names}
        digest.update(json.dumps(values).encode())
    return {"count": len(items), "sha256": digest.hexdigest()}
