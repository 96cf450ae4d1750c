"""Prompts with responses that people rank, and their order."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rmjax.data.comparisons import Prompt
from rmjax.data.jsonl import file_path, read_jsonl
from rmjax.data.reading import DEFAULT, Reading
from rmjax.data.records import parse_scoring
from rmjax.errors import InputError

if TYPE_CHECKING:
    from rmjax.scoring.reward_model import RewardModel

MOST = 9  # responses of an item: each has a key


class Item(NamedTuple):
    """A prompt and K responses to rank; `key` identifies both."""

    key: str
    prompt: Prompt
    responses: tuple[str, ...]


def read_items(path: str, reading: Reading = DEFAULT) -> list[Item]:
    """Returns the items of a file of JSON lines: records of experiments/score.py, or output of experiments/generate.py.

    Equal responses to a prompt are shown once, and so are equal items. Rankings that the file states are not shown.

    Raises:
        InputError: a record is none of them, or has fewer than two different responses or more than nine.
    """
    items: dict[str, Item] = {}
    for number, record in read_jsonl(path, reading):
        origin = f"{file_path(path)}:{number}"
        prompt, responses = _parsed(record, origin, reading)
        distinct = tuple(dict.fromkeys(responses))
        if not 2 <= len(distinct) <= MOST:
            raise InputError(
                f"{origin}: {len(distinct)} different responses, expected 2 to {MOST}: experiments/generate.py with "
                "--n=4 writes responses to prompts"
            )
        item = Item(item_key(prompt, distinct), prompt, distinct)
        items[item.key] = item
    return list(items.values())


def item_key(prompt: Prompt, responses: Sequence[str]) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of a prompt and its responses in their order."""
    return hashlib.sha256(json.dumps([prompt, list(responses)]).encode()).hexdigest()[:16]


def shuffled(item: Item, rater: str) -> list[int]:
    """Returns the order in which a rater sees the responses; files often have the chosen one first."""
    return _rng("shown", item.key, rater).permutation(len(item.responses)).tolist()


def random_order(items: Sequence[Item], seed: int) -> list[Item]:
    """Returns the items in a random order that depends on the seed only."""
    return [items[i] for i in _rng("order", str(seed)).permutation(len(items))]


def by_disagreement(items: Sequence[Item], members: Sequence[RewardModel], head: str | None) -> list[Item]:
    """Returns the items in falling order of the disagreement of an ensemble about them.

    The disagreement is the standard deviation over members of the probability that one response is preferred to
    another, as a mean over the pairs of an item.

    Raises:
        InputError: a member has no such head, or its scores give no odds.

    Source: Gleave & Irving (2203.07472), active learning of reward models by ensembles.
    """
    prompts, responses = [item.prompt for item in items], [item.responses for item in items]
    probabilities = []  # of every member, of every pair
    for member in members:
        column = member.heads.index(member.pick_head(head))
        pairs = [
            scores_KxZ[i, column] - scores_KxZ[j, column]
            for scores_KxZ in member.raw(prompts, responses)
            for i, j in itertools.combinations(range(len(scores_KxZ)), 2)
        ]
        probabilities.append(1 / (1 + np.exp(-member.link.log_odds(np.array(pairs)))))
    spread = np.std(probabilities, axis=0)
    counts = [len(group) * (len(group) - 1) // 2 for group in responses]
    means = [float(part.mean()) for part in np.split(spread, np.cumsum(counts)[:-1])]
    return [items[i] for i in np.argsort(-np.array(means), kind="stable")]


def _parsed(record: Any, origin: str, reading: Reading) -> tuple[Prompt, tuple[str, ...]]:
    answers = record.get("responses") if isinstance(record, dict) else None
    if isinstance(answers, list) and answers and all(isinstance(a, dict) and "text" in a for a in answers):
        record = {**record, "responses": [answer["text"] for answer in answers]}  # of experiments/generate.py
    if isinstance(record, dict) and record.keys() == {"prompt"}:
        raise InputError(f"{origin}: a prompt without responses: write them with experiments/generate.py --n=4")
    return parse_scoring(record, origin, reading)


def _rng(*parts: str) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
