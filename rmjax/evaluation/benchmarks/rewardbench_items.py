"""Reader of RewardBench and RewardBench 2: items, each a prompt with good and bad responses, from files.

    RewardBench     {"prompt", "chosen", "rejected", "subset"}               texts; a pair
    RewardBench 2   {"id", "prompt", "chosen", "rejected", "subset"}         chosen and rejected are lists of texts

If RewardBench 2's "num_correct", "num_incorrect" and "total_completions" are given, they must agree with the lists.
Other columns, for example the models that wrote the responses, are not read. A prompt is one user turn.

A source is a `.jsonl`, `.jsonl.gz` or `.parquet` file, or the benchmark's id on the Hugging Face hub.

Sources: Lambert et al., RewardBench (2403.13787); Malik et al., RewardBench 2 (2506.01937); their data sets
`allenai/reward-bench` (split `filtered`) and `allenai/reward-bench-2` (split `test`) with their cards, and
github.com/allenai/reward-bench, rewardbench/constants.py.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rmjax.data import values
from rmjax.data.comparisons import Message, Prompt
from rmjax.data.jsonl import jsonl_records
from rmjax.data.parquet import parquet_records
from rmjax.errors import InputError

# RewardBench: the number of pairs in every subset of every section.
SECTIONS = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 447,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
SUBSETS = {subset: count for section in SECTIONS.values() for subset, count in section.items()}

# RewardBench 2: the number of prompts in every domain.
TIES = "Ties"
DOMAINS = {"Factuality": 475, "Precise IF": 160, "Math": 183, "Safety": 450, "Focus": 495, TIES: 102}
BEST_OF = 4  # responses to a prompt of every domain but Ties, one of them chosen

# Data of the published scores: hub id -> the files of the split.
_HUB = {"allenai/reward-bench": "data/filtered-*.parquet", "allenai/reward-bench-2": "data/test-*.parquet"}
_TIES_ID = re.compile(r"(ref|tied):(\d+)")


@dataclasses.dataclass(frozen=True)
class Item:
    """One prompt of a benchmark.

    Attributes:
        prompt: one user turn.
        chosen: the good responses; one, except in RewardBench 2's Ties.
        rejected: the bad responses; one in RewardBench.
        subset: one of `SUBSETS` (RewardBench) or `DOMAINS` (RewardBench 2).
        id: from the file. In Ties `ref:N` or `tied:N`; the two of one N belong together.
        origin: file and line, for messages.
    """

    prompt: Prompt
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    id: str | None = None
    origin: str = ""

    @property
    def responses(self) -> tuple[str, ...]:
        """All responses, the chosen first. Scores have the same order."""
        return self.chosen + self.rejected


def read_rewardbench(source: str) -> list[Item]:
    """Returns RewardBench from a file, or from the hub as `allenai/reward-bench`.

    Raises:
        InputError: the source cannot be read, or a record is wrong; the message names file and line (parquet: row).
    """
    return _read(source, "allenai/reward-bench", _pair)


def read_rewardbench2(source: str) -> list[Item]:
    """Returns RewardBench 2 from a file, or from the hub as `allenai/reward-bench-2`. See `read_rewardbench`."""
    return _read(source, "allenai/reward-bench-2", _best_of)


def ties_id(item: Item) -> tuple[str, str]:
    """Returns (`ref` or `tied`, N) from the id of a prompt of Ties.

    Raises:
        InputError: the id is another.
    """
    match = _TIES_ID.fullmatch(item.id or "")
    if match is None:
        raise InputError(f'the "id" of a prompt of {TIES} is ref:N or tied:N, which says what it is, found {item.id!r}')
    return match[1], match[2]


# --- records ----------------------------------------------------------------------------------------------------------


def _pair(record: Any, origin: str) -> Item:
    chosen, rejected = (values.text(_field(record, key), key) for key in ("chosen", "rejected"))
    subset = values.label(_field(record, "subset"), "subset")
    if subset not in SUBSETS:
        raise InputError(f"unknown subset {subset!r}: it is none of the {len(SUBSETS)} of RewardBench")
    return Item(_prompt(record), (chosen,), (rejected,), subset, _id(record), origin)


def _best_of(record: Any, origin: str) -> Item:
    chosen, rejected = (values.each(values.text, _field(record, key), key) for key in ("chosen", "rejected"))
    counts = {"num_correct": len(chosen), "num_incorrect": len(rejected)}
    for key, count in {**counts, "total_completions": len(chosen) + len(rejected)}.items():
        if record.get(key) is not None and values.whole(record[key], key) != count:
            raise InputError(f'"{key}" is {record[key]}, but the lists "chosen" and "rejected" make it {count}')
    if not chosen or not rejected:
        raise InputError('"chosen" and "rejected" must each hold at least one response')
    subset = _domain(values.label(_field(record, "subset"), "subset"))
    item = Item(_prompt(record), chosen, rejected, subset, _id(record), origin)
    if subset != TIES and (len(chosen), len(rejected)) != (1, BEST_OF - 1):
        raise InputError(
            f"{subset} has one chosen and {BEST_OF - 1} rejected responses to a prompt, found {len(chosen)} and "
            f"{len(rejected)}"
        )
    if subset == TIES and ties_id(item)[0] == "tied" and len(chosen) < 2:
        raise InputError(f'{item.id} is a tied prompt, so "chosen" holds two responses or more, found {len(chosen)}')
    return item


def _domain(name: str) -> str:
    # The published evaluation reads "ties" and "Ties" as the same.
    for domain in DOMAINS:
        if domain.lower() == name.lower():
            return domain
    raise InputError(f"unknown subset {name!r}: RewardBench 2 has {', '.join(DOMAINS)}")


def _prompt(record: dict) -> Prompt:
    return (Message("user", values.text(_field(record, "prompt"), "prompt")),)


def _id(record: dict) -> str | None:
    value = record.get("id")
    return value if value is None or isinstance(value, str) else str(values.whole(value, "id"))


def _field(record: Any, key: str) -> Any:
    if not isinstance(record, dict):
        raise InputError(f"a record must be a JSON object, found {values.kind(record)}")
    if record.get(key) is None:
        raise InputError(f'"{key}" is missing or null')
    return record[key]


# --- files ------------------------------------------------------------------------------------------------------------


def _read(source: str, hub: str, parse: Callable[[Any, str], Item]) -> list[Item]:
    items: list[Item] = []
    ids: dict[str | None, str] = {}
    for path in _paths(source, hub):
        for origin, record in _records(path, hub):
            try:
                item = parse(record, origin)
                if item.subset == TIES and ids.setdefault(item.id, origin) != origin:
                    raise InputError(f"the id {item.id} is already used at {ids[item.id]}")
            except InputError as error:
                raise InputError(f"{origin}: {error}") from None
            items.append(item)
    return items


def _paths(source: str, hub: str) -> list[str]:
    """Returns the files of a source."""
    if source not in _HUB or Path(source).exists():
        return [source]
    if source != hub:
        raise InputError(f"{source} is the other benchmark: this one is {hub}")
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(hub, repo_type="dataset", allow_patterns=[_HUB[hub]])
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{hub} is not on this machine and could not be fetched ({reason}): run `hf download --repo-type dataset "
            f"{hub}` on a machine with a network, or name a local .jsonl, .jsonl.gz or .parquet file in its place"
        ) from None
    paths = sorted(Path(folder).glob(_HUB[hub]))
    if not paths:
        raise InputError(f"{hub}, as found in {folder}, has no files {_HUB[hub]}: name a local file in its place")
    return [str(path) for path in paths]


def _records(path: str, hub: str) -> Iterator[tuple[str, Any]]:
    """Returns an iterator of (origin, record) over a file."""
    if path.endswith((".jsonl", ".jsonl.gz")):
        return jsonl_records(path)
    if path.endswith(".parquet"):
        return parquet_records(path)
    raise InputError(f"{path} is neither a .jsonl, .jsonl.gz or .parquet file nor the hub id {hub}")
