"""Names of data sources, the same in configurations and on command lines.

A specification is one or more parts joined by commas, each

    NAME[:SPLIT][SLICE][@WEIGHT]

    NAME    gold/helpful, gold/safety, gold/both    the embedded corpus
            gold/text                               its helpful demonstrations as text without answers
            lessons/STAGE                           texts for pretraining, see rmjax.data.gold.lessons
            hh_rlhf/CONFIG                          HH-RLHF, see rmjax.data.hh_rlhf for its configurations
            jsonl:FILE                              JSON lines, gzipped or not; relative to the working directory.
                                                    - is standard input, for scripts that read it once
            csv:FILE                                CSV with a header row, gzipped or not, one record per row
            parquet:FILE                            parquet, one record per row
            hf:OWNER/NAME[:CONFIG]                  a dataset of the Hugging Face hub, one record per row
    SPLIT   train, validation or test (hf: any split of the dataset); by default the role of the data. Files have none.
    SLICE   [:90%] [90%:] [10%:20%] [:1000] [1000:], counted in prompts
    WEIGHT  the share of the mixture

as in `hh_rlhf/harmless-base[:90%]@0.9,hh_rlhf/helpful-base@0.1`.

**Slices** count distinct prompts in the order of their first occurrence. So all comparisons of one prompt are on one
side, and `[:90%]` and `[90%:]` split the data. A bound beyond the end of the data means their end.

**Weights** make a mixture in which the parts have exactly these shares of the comparisons (rounded down to whole
comparisons). The mixture is as large as possible without using any comparison twice: the part that is smallest for its
weight is used whole, and of the others a random selection that is always the same. Without weights, all parts are used
whole. If some parts have weights and others have none, that is an error.

Since these characters have a meaning here, the path of a file contains no commas or square brackets, and its last
component no `@`.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from rmjax.data.comparisons import Comparison, Demonstration, Prompt
from rmjax.data.readers import READERS, Request
from rmjax.data.reading import DEFAULT, Reading
from rmjax.errors import InputError

ROLES = ("train", "validation", "test")
FORMS = [
    form
    for kind, reader in READERS.items()
    for form in ([f"{kind}/{name}" for name in reader.names] if reader.names else [reader.form])
]
GRAMMAR = (
    f"a source is NAME[:SPLIT][SLICE][@WEIGHT], where NAME is {', '.join(FORMS[:-1])} or {FORMS[-1]}, "
    "SLICE is like [:90%], [90%:] or [:1000], and several are joined by commas"
)

_OWN = "|".join(kind for kind, reader in READERS.items() if reader.is_own_data)
_PART = re.compile(rf"(?P<name>[^\[\]@]*?|(?:{_OWN}):[^\[\]]*?)(?P<slice>\[[^\[\]]*\])?(?:@(?P<weight>[^@\[\]/]*))?")
_BOUND = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<percent>%?)")

Item = TypeVar("Item", Comparison, Demonstration)


@dataclasses.dataclass(frozen=True)
class Bound:
    """One end of a slice: a number of prompts, or a percentage of them."""

    number: Fraction
    percent: bool

    def position(self, count: int) -> int:
        """Returns the index at which to cut `count` prompts, rounded down."""
        return min(count, int(self.number * count / 100 if self.percent else self.number))


@dataclasses.dataclass(frozen=True)
class Source:
    """One part of a specification.

    Attributes:
        kind: a key of `READERS`.
        name: the name within the kind, or the path of the file.
        split: "" for the split of the role.
        start: lower end of the slice, or None.
        stop: upper end of the slice, or None.
        weight: weight in the mixture, or None.
        text: the part as given, for messages.
    """

    kind: str
    name: str
    split: str
    start: Bound | None
    stop: Bound | None
    weight: Fraction | None
    text: str


def parse_sources(spec: str) -> list[Source]:
    """Returns the parts of a specification; reads no data.

    Raises:
        InputError: it does not follow the grammar, or only some parts have weights.
    """
    sources = [_source(part.strip()) for part in spec.split(",")]
    unweighted = [source.text for source in sources if source.weight is None]
    if unweighted and len(unweighted) < len(sources):
        raise InputError(f"source {unweighted[0]!r} has no weight but others have: give all of them one, or none")
    return sources


def load_comparisons(
    spec: str,
    role: str,
    *,
    manual_dir: str = "",
    data_dir: str = "",
    notes: collections.Counter[str] | None = None,
    reading: Reading = DEFAULT,
) -> list[Comparison]:
    """Loads the comparisons that `spec` names.

    Args:
        spec: names of sources; see the module.
        role: the use of the data: "train", "validation" or "test".
        manual_dir: a folder with the files of HH-RLHF, read instead of the network.
        data_dir: the folder of prepared HH-RLHF data.
        notes: counts remarks on files and their records, for the audit.
        reading: limits and options of files.

    Raises:
        InputError: a name, a slice, a weight or the data are wrong, or nothing is left.
    """
    return _load(
        spec,
        role,
        lambda source, split: READERS[source.kind].comparisons(
            Request(source.name, split, manual_dir, data_dir, notes, reading)
        ),
    )


def load_demonstrations(
    spec: str,
    role: str,
    *,
    manual_dir: str = "",
    data_dir: str = "",
    notes: collections.Counter[str] | None = None,
    reading: Reading = DEFAULT,
) -> list[Demonstration]:
    """Loads the demonstrations that `spec` names; of comparisons, the best responses. See `load_comparisons`."""
    return _load(
        spec,
        role,
        lambda source, split: READERS[source.kind].read_demonstrations(
            Request(source.name, split, manual_dir, data_dir, notes, reading)
        ),
    )


def load_prompts(
    spec: str, role: str, *, manual_dir: str = "", data_dir: str = "", reading: Reading = DEFAULT
) -> list[Demonstration]:
    """Loads the prompts that `spec` names, as demonstrations with empty responses, to sample responses to.

    Records of files may have a prompt only. See `load_comparisons`.
    """
    return _load(
        spec,
        role,
        lambda source, split: READERS[source.kind].read_prompts(
            Request(source.name, split, manual_dir, data_dir, reading=reading)
        ),
    )


# --- the grammar ------------------------------------------------------------------------------------------------------


def _source(text: str) -> Source:
    match = _PART.fullmatch(text)
    if not text or not match:
        raise InputError(f"cannot read the source {text!r}: {GRAMMAR}")
    kind, name, split = _named(match["name"], text)
    start, stop = _slice(match["slice"], text)
    return Source(kind, name, split, start, stop, _weight(match["weight"], text), text)


def _named(name: str, text: str) -> tuple[str, str, str]:
    """Returns (kind, name within the kind, split)."""
    kind = re.split("[:/]", name, maxsplit=1)[0]
    separator, rest = name[len(kind) : len(kind) + 1], name[len(kind) + 1 :]
    reader = READERS.get(kind)
    if reader is None or separator not in ("", reader.form[len(kind)]):
        files = [known for known, each in READERS.items() if name.endswith(each.endings or "\0")]
        file = rest if separator == ":" and rest else name
        hint = f" (for a file write {files[0]}:{file})" if files else ""
        raise InputError(f"unknown source {text!r}{hint}: {GRAMMAR}")
    split = ""
    if not reader.is_own_data:
        rest, colon, split = rest.partition(":")
        if colon and split not in ROLES:
            raise InputError(f"unknown split {split!r} in the source {text!r}: it is one of {', '.join(ROLES)}")
    if reader.names and rest not in reader.names:
        known = ", ".join(f"{kind}/{known}" for known in reader.names)
        raise InputError(f"unknown source {text!r}: {kind} is one of {known}")
    if not rest:
        raise InputError(f"the source {text!r} is incomplete: write {reader.form}, as in {reader.example}")
    return kind, rest, split


def _slice(text: str | None, part: str) -> tuple[Bound | None, Bound | None]:
    if text is None:
        return None, None
    ends = [end.strip() for end in text[1:-1].split(":")]
    matches = [_BOUND.fullmatch(end) for end in ends]
    if len(ends) != 2 or any(end and not match for end, match in zip(ends, matches, strict=True)):
        raise InputError(f"cannot read the slice {text} of {part!r}: it is like [:90%], [90%:], [10%:20%] or [:1000]")
    bounds = [match and Bound(Fraction(match["number"]), bool(match["percent"])) for match in matches]
    for bound in bounds:
        if bound and bound.percent and bound.number > 100:
            raise InputError(f"the slice {text} of {part!r} goes beyond 100%")
        if bound and not bound.percent and bound.number.denominator != 1:
            raise InputError(f"the slice {text} of {part!r} cuts a prompt: give a whole number, or a percentage")
    return bounds[0], bounds[1]


def _weight(text: str | None, part: str) -> Fraction | None:
    if text is None:
        return None
    try:
        weight = Fraction(text)
    except (ValueError, ZeroDivisionError):
        weight = Fraction(0)
    if weight <= 0:
        raise InputError(f"the weight of {part!r} must be a number above 0, found {text!r}")
    return weight


# --- reading, cutting, mixing -----------------------------------------------------------------------------------------


def _load(spec: str, role: str, read: Callable[[Source, str], list[Item]]) -> list[Item]:
    if role not in ROLES:
        raise InputError(f"unknown role {role!r}: it is one of {', '.join(ROLES)}")
    sources = parse_sources(spec)
    parts = [_cut(read(source, source.split or role), source) for source in sources]
    weights = [source.weight for source in sources if source.weight is not None]
    if weights:  # then every source has one
        parts = _mix(parts, sources, weights)
    return [item for part in parts for item in part]


def _cut(items: list[Item], source: Source) -> list[Item]:
    prompts = _distinct_prompts(items)
    start = source.start.position(len(prompts)) if source.start else 0
    stop = source.stop.position(len(prompts)) if source.stop else len(prompts)
    if start >= stop:
        raise InputError(f"the source {source.text!r} is empty: its slice keeps none of {len(prompts)} prompts")
    chosen = set(prompts[start:stop])
    return [item for item in items if item.prompt in chosen]


def _mix(parts: list[list[Item]], sources: list[Source], weights: list[Fraction]) -> list[list[Item]]:
    scale = min(len(part) / weight for part, weight in zip(parts, weights, strict=True))
    mixed = []
    for part, source, weight in zip(parts, sources, weights, strict=True):
        count = int(scale * weight)
        if not count:
            raise InputError(f"the weight of {source.text!r} is too small: it contributes no comparison")
        mixed.append([part[i] for i in _selection(len(part), count, seed=0)])
    return mixed


def _distinct_prompts(items: Sequence[Item]) -> list[Prompt]:
    return list(dict.fromkeys(item.prompt for item in items))


def _selection(population: int, count: int, seed: int) -> list[int]:
    """Returns `count` random numbers of `range(population)`, ascending, determined by `seed`."""
    # Python guarantees the sequence of random() for all versions, but not of sample() and shuffle().
    generator = random.Random(seed)
    keys = [generator.random() for _ in range(population)]
    return sorted(sorted(range(population), key=keys.__getitem__)[:count])
