"""Readers of data sources: one entry in `READERS` for every kind of source."""

from __future__ import annotations

import collections
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from rmjax.data.comparisons import Comparison, Demonstration, best_responses
from rmjax.data.csv_file import csv_records
from rmjax.data.hub_dataset import hub_records
from rmjax.data.jsonl import jsonl_records
from rmjax.data.parquet import parquet_records
from rmjax.data.published import rated_by_attribute, too_few_completions
from rmjax.data.reading import DEFAULT, Reading
from rmjax.data.records import parse_comparison, parse_demonstrations, parse_prompt, remarks
from rmjax.errors import InputError

Parsed = TypeVar("Parsed")

Parse = Callable[[Any, str, Reading], Parsed]
LISTED = 8  # remarks in a message


class Request(NamedTuple):
    """The data that a reader is asked for.

    Attributes:
        name: the name within the kind of source, the path of the file, or the name of the dataset on the hub.
        split: "train", "validation" or "test"; files have no splits.
        manual_dir: a folder with the files of HH-RLHF, read instead of the network.
        data_dir: the folder of prepared HH-RLHF data.
        notes: counter of remarks on files and records.
        reading: limits and options of files.
    """

    name: str
    split: str
    manual_dir: str = ""
    data_dir: str = ""
    notes: collections.Counter[str] | None = None
    reading: Reading = DEFAULT


@dataclasses.dataclass(frozen=True)
class Reader:
    """A kind of source.

    Attributes:
        form: how a source is written: `KIND:FILE` or `KIND:DATASET` for the user's own data, else `KIND/NAME`.
        example: a source of this kind.
        comparisons: reads the comparisons.
        demonstrations: reads the demonstrations; None takes the best responses of the comparisons.
        prompts: reads prompts, as demonstrations with empty responses; None takes those of the comparisons.
        records: yields (origin, record) of the user's own data.
        names: the known names; empty if the reader checks them.
        endings: endings of the files, for a hint if the kind is missing.
    """

    form: str
    example: str
    comparisons: Callable[[Request], list[Comparison]]
    demonstrations: Callable[[Request], list[Demonstration]] | None = None
    prompts: Callable[[Request], list[Demonstration]] | None = None
    records: Callable[[Request], Iterator[tuple[str, Any]]] | None = None
    names: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()

    @property
    def is_own_data(self) -> bool:
        """True if a source names a file or a dataset of the user; the reader gets the name with its colons."""
        return ":" in self.form.partition("/")[0]

    def read_demonstrations(self, request: Request) -> list[Demonstration]:
        """Returns the demonstrations of a source."""
        if self.demonstrations:
            return self.demonstrations(request)
        return [
            Demonstration(comparison.prompt, response, origin=comparison.origin)
            for comparison in self.comparisons(request)
            for response in best_responses(comparison)
        ]

    def read_prompts(self, request: Request) -> list[Demonstration]:
        """Returns the prompts of a source, as demonstrations with empty responses."""
        if self.prompts:
            return self.prompts(request)
        return [Demonstration(each.prompt, "", origin=each.origin) for each in self.comparisons(request)]


def parse_records(
    records: Iterable[tuple[str, Any]],
    parse: Parse[Parsed],
    notes: collections.Counter[str] | None = None,
    reading: Reading = DEFAULT,
) -> Iterator[Parsed]:
    """Yields `parse(record, origin)` for every (origin, record), and counts the remarks on the records in `notes`.

    Without `notes`, keys that are not read are printed once, on standard error.

    Raises:
        InputError: a record is wrong.
    """
    found: collections.Counter[str] = collections.Counter() if notes is None else notes
    origin = ""
    for origin, record in records:
        if too_few_completions(record):
            found["record of UltraFeedback with fewer than two completions skipped"] += 1
            continue
        parsed = parse(record, origin, reading)
        found.update(remarks(reading.renamed(record)))
        yield parsed
    unread = [f"{note} in {count:,} records" for note, count in found.items() if note.endswith("not read")]
    if notes is None and unread:
        print(f"note: up to {origin}: {', '.join(unread[:LISTED])}", file=sys.stderr)


def own_records(text: str, reading: Reading = DEFAULT) -> Iterator[tuple[str, Any]]:
    """Yields (origin, record) of the user's own data: `KIND:FILE` of `READERS`, a file of JSON lines, or `-`.

    Raises:
        InputError: it cannot be read.
    """
    kind, _, name = text.partition(":")
    reader = READERS.get(kind)
    if name and reader and reader.records:
        return reader.records(Request(name, "", reading=reading))
    return jsonl_records(text, reading)


def _file_reader(kind: str, records: Callable[[str, Reading], Iterator[tuple[str, Any]]], *endings: str) -> Reader:
    return _record_reader(
        f"{kind}:FILE", f"{kind}:train.{kind}", lambda request: records(request.name, request.reading), endings
    )


def _record_reader(
    form: str, example: str, records: Callable[[Request], Iterator[tuple[str, Any]]], endings: tuple[str, ...] = ()
) -> Reader:
    def parsed(request: Request, parse: Parse[Parsed]) -> Iterator[Parsed]:
        return parse_records(records(request), parse, request.notes, request.reading)

    def comparisons(request: Request) -> list[Comparison]:
        rated = rated_by_attribute(records(request), request.notes)
        return list(parse_records(rated, parse_comparison, request.notes, request.reading))

    def demonstrations(request: Request) -> list[Demonstration]:
        return [demonstration for group in parsed(request, parse_demonstrations) for demonstration in group]

    def prompts(request: Request) -> list[Demonstration]:
        found = parsed(request, parse_prompt)
        return [Demonstration(prompt, "", origin=request.name) for prompt in found]

    return Reader(form, example, comparisons, demonstrations, prompts, records, endings=endings)


def _gold_comparisons(request: Request) -> list[Comparison]:
    from rmjax.data.gold import cache

    if request.name == "text":
        raise InputError("gold/text has demonstrations only, for SFT, and no comparisons")
    return cache.comparisons(request.name, request.split)


def _gold_demonstrations(request: Request) -> list[Demonstration]:
    from rmjax.data.gold import cache, corpus

    if request.name == "text":
        return corpus.sentences(cache.demonstrations("helpful", request.split))
    return cache.demonstrations(request.name, request.split)


def _lesson_comparisons(request: Request) -> list[Comparison]:
    from rmjax.data.gold.lessons import JUDGED, judgements

    if request.name != JUDGED:
        raise InputError(f"lessons/{request.name} has demonstrations only, for pretraining, and no comparisons")
    if request.split != "train":
        raise InputError(f"lessons/{request.name} has no split {request.split!r}: it has train only")
    return judgements()


def _lesson_demonstrations(request: Request) -> list[Demonstration]:
    from rmjax.data.gold.lessons import JUDGED, lessons

    if request.name == JUDGED:
        raise InputError(f"lessons/{request.name} has comparisons only, for pretraining, and no demonstrations")
    if request.split != "train":
        raise InputError(f"lessons/{request.name} has no split {request.split!r}: it has train only")
    return lessons(request.name)


def _hh_rlhf_comparisons(request: Request) -> list[Comparison]:
    # The import of TFDS is slow, and only this source needs it.
    from rmjax.data import hh_rlhf

    return hh_rlhf.load(
        request.name, request.split, manual_dir=request.manual_dir, data_dir=request.data_dir, notes=request.notes
    )


READERS = {
    "gold": Reader(
        "gold/NAME",
        "gold/helpful",
        _gold_comparisons,
        _gold_demonstrations,
        names=("helpful", "safety", "both", "text"),
    ),
    "lessons": Reader(
        "lessons/STAGE",
        "lessons/recall",
        _lesson_comparisons,
        _lesson_demonstrations,
        names=("recall", "linked", "restated", "answered", "judged"),
    ),
    "hh_rlhf": Reader("hh_rlhf/CONFIG", "hh_rlhf/helpful-base", _hh_rlhf_comparisons),
    "csv": _file_reader("csv", csv_records, ".csv", ".csv.gz"),
    "jsonl": _file_reader("jsonl", jsonl_records, ".jsonl", ".gz", ".json"),
    "parquet": _file_reader("parquet", parquet_records, ".parquet"),
    "hf": _record_reader(
        "hf:OWNER/NAME",
        "hf:HuggingFaceH4/ultrafeedback_binarized:train_prefs",
        lambda request: hub_records(request.name, request.split),
    ),
}
