"""Source names -> data, the same in configs and on command lines.

A specification is one or more parts joined by commas, each

    NAME[:SPLIT][SLICE][@WEIGHT]

    NAME    gold/helpful, gold/safety, gold/both    the embedded corpus
            gold/text                               its demonstrations of helpfulness without the answering
            hh_rlhf/CONFIG                          HH-RLHF, see rmjax.data.hh_rlhf for its configurations
            jsonl:FILE                              JSON lines, gzipped or not; relative to the working directory
    SPLIT   train, validation or test; without it, what the data are for (their role). Not for files.
    SLICE   [:90%] [90%:] [10%:20%] [:1000] [1000:], counted in prompts
    WEIGHT  the share of the mixture

as in `hh_rlhf/harmless-base[:90%]@0.9,hh_rlhf/helpful-base@0.1`.

**Slices** count distinct prompts in the order in which they first appear, so that all comparisons of one prompt stay on
one side, and `[:90%]` and `[90%:]` part the data. An end beyond the data means their end.

**Weights** make a mixture in which the parts have exactly these shares of the comparisons (rounded down to whole
ones), and which is as large as that allows without using any comparison twice: the part that is scarcest for its weight
is used whole, of the others a random selection that is always the same. Without weights, all of every part. A part with
no weight beside one with a weight is an error.

Because of their meaning here, the path of a file has no commas or square brackets, and its last component no `@`.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from rmjax.data.comparisons import Comparison, Demonstration, Prompt, best_responses
from rmjax.data.jsonl import read_comparisons, read_demonstrations
from rmjax.errors import InputError

ROLES = ("train", "validation", "test")
GOLD_NAMES = ("helpful", "safety", "both", "text")
GRAMMAR = (
    "a source is NAME[:SPLIT][SLICE][@WEIGHT], where NAME is gold/helpful, gold/safety, gold/both, hh_rlhf/CONFIG or "
    "jsonl:FILE, SLICE is like [:90%], [90%:] or [:1000], and several are joined by commas"
)

_PART = re.compile(r"(?P<name>[^\[\]@]*?|jsonl:[^\[\]]*?)(?P<slice>\[[^\[\]]*\])?(?:@(?P<weight>[^@\[\]/]*))?")
_BOUND = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<percent>%?)")

Item = TypeVar("Item", Comparison, Demonstration)


@dataclasses.dataclass(frozen=True)
class Bound:
    """One end of a slice: a number of prompts, or a percentage of them."""

    number: Fraction
    percent: bool

    def position(self, count: int) -> int:
        """The prompt at which to cut `count` prompts, rounded down."""
        return min(count, int(self.number * count / 100 if self.percent else self.number))


@dataclasses.dataclass(frozen=True)
class Source:
    """One part of a specification."""

    kind: str  # "gold", "hh_rlhf" or "jsonl"
    name: str  # the gold or HH name, or the file
    split: str  # "" for the role's
    start: Bound | None
    stop: Bound | None
    weight: Fraction | None
    text: str  # as given, for messages


def parse_sources(spec: str) -> list[Source]:
    """The parts of a specification, none of them read yet.

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
) -> list[Comparison]:
    """The comparisons that `spec` names.

    Args:
        spec: source names; see the module.
        role: what they are for: "train", "validation" or "test".
        manual_dir: a folder with HH-RLHF's files, to be used instead of the network.
        data_dir: where HH-RLHF is kept once prepared.
        notes: counts remarks on files and their records, for the audit.

    Raises:
        InputError: a name, a slice, a weight or the data are wrong, or nothing is left.
    """
    return _load(spec, role, lambda source, split: _comparisons(source, split, manual_dir, data_dir, notes))


def load_demonstrations(
    spec: str,
    role: str,
    *,
    manual_dir: str = "",
    data_dir: str = "",
    notes: collections.Counter[str] | None = None,
) -> list[Demonstration]:
    """The demonstrations that `spec` names; of comparisons, the responses ranked first. See `load_comparisons`."""
    return _load(spec, role, lambda source, split: _demonstrations(source, split, manual_dir, data_dir, notes))


def hold_out(items: Sequence[Item], fraction: float) -> tuple[list[Item], list[Item]]:
    """Parts data by prompt into (train, held out), each in the given order.

    Whether a prompt is held out depends on a hash of the prompt and on `fraction` alone, never on what else is there:
    the demonstrations of a run leave out the very prompts that its comparisons leave out, and so does an SFT run made
    earlier. The held-out side is therefore only about `fraction` of the prompts. Neither side is left empty: in data so
    small that the hash would do that, the prompt with the lowest (or highest) hash changes sides.

    Raises:
        InputError: `fraction` is not between 0 and 1, or there is one prompt only.
    """
    if not 0 < fraction < 1:
        raise InputError(f"the fraction to hold out must lie between 0 and 1, found {fraction}")
    places = {prompt: _place(prompt) for prompt in _distinct_prompts(items)}
    if len(places) < 2:
        raise InputError(f"holding out needs at least two different prompts, found {len(places)}")
    lowest, highest = min(places.values()), max(places.values())
    chosen = {prompt for prompt, place in places.items() if place == lowest or fraction > place < highest}
    return [item for item in items if item.prompt not in chosen], [item for item in items if item.prompt in chosen]


def _place(prompt: Prompt) -> float:
    """A number in [0, 1) that is always the same for a prompt, and uniform over prompts."""
    digest = hashlib.sha256(json.dumps(prompt).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


# --- the grammar ------------------------------------------------------------------------------------------------------


def _source(text: str) -> Source:
    match = _PART.fullmatch(text)
    if not text or not match:
        raise InputError(f"cannot read the source {text!r}: {GRAMMAR}")
    kind, name, split = _named(match["name"], text)
    start, stop = _slice(match["slice"], text)
    return Source(kind, name, split, start, stop, _weight(match["weight"], text), text)


def _named(name: str, text: str) -> tuple[str, str, str]:
    if name.startswith("jsonl:"):
        path = name.removeprefix("jsonl:")
        if not path:
            raise InputError(f"the source {text!r} names no file: write jsonl:FILE")
        return "jsonl", path, ""
    family, _, rest = name.partition("/")
    rest, colon, split = rest.partition(":")
    if family not in ("gold", "hh_rlhf"):
        hint = f" (for a file write jsonl:{name})" if name.endswith((".jsonl", ".gz", ".json")) else ""
        raise InputError(f"unknown source {text!r}{hint}: {GRAMMAR}")
    if family == "gold" and rest not in GOLD_NAMES:
        raise InputError(f"unknown source {text!r}: gold is one of gold/{', gold/'.join(GOLD_NAMES)}")
    if not rest:
        raise InputError(
            f"the source {text!r} names no configuration: write hh_rlhf/CONFIG, as in hh_rlhf/helpful-base"
        )
    if colon and split not in ROLES:
        raise InputError(f"unknown split {split!r} in the source {text!r}: it is one of {', '.join(ROLES)}")
    return family, rest, split


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
    if sources[0].weight is not None:
        parts = _mix(parts, sources)
    return [item for part in parts for item in part]


def _comparisons(
    source: Source, split: str, manual_dir: str, data_dir: str, notes: collections.Counter[str] | None
) -> list[Comparison]:
    if source.kind == "jsonl":
        return read_comparisons(source.name, notes)
    if source.kind == "gold":
        from rmjax.data.gold import cache

        if source.name == "text":
            raise InputError("gold/text has demonstrations only, for SFT, and no comparisons")
        return cache.comparisons(source.name, split)
    # Imported here: TFDS costs time to import, and only this source needs it.
    from rmjax.data import hh_rlhf

    return hh_rlhf.load(source.name, split, manual_dir=manual_dir, data_dir=data_dir, notes=notes)


def _demonstrations(
    source: Source, split: str, manual_dir: str, data_dir: str, notes: collections.Counter[str] | None
) -> list[Demonstration]:
    if source.kind == "jsonl":
        return read_demonstrations(source.name, notes)
    if source.kind == "gold":
        from rmjax.data.gold import cache, corpus

        if source.name == "text":
            return corpus.sentences(cache.demonstrations("helpful", split))
        return cache.demonstrations(source.name, split)
    return [
        Demonstration(comparison.prompt, response, origin=comparison.origin)
        for comparison in _comparisons(source, split, manual_dir, data_dir, notes)
        for response in best_responses(comparison)
    ]


def _cut(items: list[Item], source: Source) -> list[Item]:
    prompts = _distinct_prompts(items)
    start = source.start.position(len(prompts)) if source.start else 0
    stop = source.stop.position(len(prompts)) if source.stop else len(prompts)
    if start >= stop:
        raise InputError(f"the source {source.text!r} is empty: its slice keeps none of {len(prompts)} prompts")
    kept = set(prompts[start:stop])
    return [item for item in items if item.prompt in kept]


def _mix(parts: list[list[Item]], sources: list[Source]) -> list[list[Item]]:
    scale = min(len(part) / source.weight for part, source in zip(parts, sources, strict=True))
    mixed = []
    for part, source in zip(parts, sources, strict=True):
        count = int(scale * source.weight)
        if not count:
            raise InputError(f"the weight of {source.text!r} is too small beside the others: it contributes nothing")
        mixed.append([part[i] for i in _selection(len(part), count, seed=0)])
    return mixed


def _distinct_prompts(items: Sequence[Item]) -> list:
    return list(dict.fromkeys(item.prompt for item in items))


def _selection(population: int, count: int, seed: int) -> list[int]:
    """`count` of `range(population)`, ascending, chosen by `seed`."""
    # Python promises the sequence of random() for all versions; it does not for sample() and shuffle().
    generator = random.Random(seed)
    draws = [generator.random() for _ in range(population)]
    return sorted(sorted(range(population), key=draws.__getitem__)[:count])
