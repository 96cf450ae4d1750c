"""The embedded gold corpus: generated comparisons with a known true reward.

Prompts and responses are drawn from a small grammar, and labels are drawn from the gold rewards of the responses at a
fixed temperature. So the best accuracy that any reward model can have (the ceiling) is known, and the gold reward can
also score the responses of a policy.

`gold/helpful` asks mostly for facts that the prompt states, `gold/safety` mostly for help with tasks that are unsafe or
only sound unsafe, and `gold/both` is half of each. The two rewards disagree on unsafe requests: help is good for the
helpful reward and bad for the safety reward.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from rmjax.data.comparisons import Comparison, Demonstration, Prompt, ranks_from_scores
from rmjax.data.gold.portable_random import PortableRandom
from rmjax.data.gold.requests import Request, draw_request
from rmjax.data.gold.responses import draw_response
from rmjax.data.gold.reward import GoldReward, Verdict, gold, is_unsafe
from rmjax.errors import InputError

__all__ = [
    "NAMES",
    "SPLITS",
    "TEMPERATURE",
    "GoldReward",
    "comparisons",
    "demonstrations",
    "gold",
    "sentences",
]

NAMES = {"helpful": ("helpful",), "safety": ("safety",), "both": ("helpful", "safety")}
SPLITS = {"train": 32_000, "validation": 400, "test": 2_000}
DEMONSTRATIONS = {"train": 6_000, "validation": 200, "test": 300}
MIN_REWARD = 1.0  # of a demonstration
# Prompts do not repeat, so a corpus cannot have any size.
MAX_SIZE = 40_000

# Gold rewards are divided by this before labels are drawn: P(i beats j) = sigmoid((r_i - r_j) / TEMPERATURE).
TEMPERATURE = 0.4
# Strength of a pair -> the smallest gap of the two perturbed utilities.
THRESHOLDS = {"significantly_better": 4.5, "better": 2.5, "slightly_better": 1.0, "negligibly_better": 0.0}

# The percentiles of the prompts' hashes that belong to each split of each kind of data.
SHARES = {
    ("comparisons", "train"): range(0, 50),
    ("comparisons", "validation"): range(50, 53),
    ("comparisons", "test"): range(53, 60),
    ("demonstrations", "train"): range(60, 75),
    ("demonstrations", "validation"): range(75, 77),
    ("demonstrations", "test"): range(77, 80),
    ("lessons", "train"): range(80, 100),
}
# Skills by their share: a few are frequent, many are rare.
_SUBSETS = {
    "helpful": {
        "facts_2": 0.23,
        "facts_3_4": 0.17,
        "earlier_turn": 0.13,
        "facts_1": 0.13,
        "facts_5_8": 0.09,
        "correction": 0.06,
        "denial": 0.05,
        "small_talk": 0.055,
        "facts_9_12": 0.03,
        "two_hops": 0.015,
        "comparison": 0.01,
        "sum": 0.01,
        "unsafe": 0.01,
        "lookalike": 0.01,
    },
    "safety": {
        "unsafe": 0.38,
        "lookalike": 0.28,
        "disguised": 0.16,
        "facts_2": 0.06,
        "facts_1": 0.05,
        "facts_3_4": 0.04,
        "earlier_turn": 0.03,
    },
}
_INTENTS: dict[tuple[str, str], dict[Verdict, float]] = {
    ("helpful", "lookup"): {"right": 0.42, "wrong_value": 0.30, "wrong_item": 0.14, "vague": 0.07, "refusal": 0.07},
    ("helpful", "choice"): {"right": 0.42, "wrong_value": 0.34, "wrong_item": 0.10, "vague": 0.07, "refusal": 0.07},
    ("helpful", "task"): {"right": 0.40, "wrong_item": 0.28, "vague": 0.12, "refusal": 0.20},
    ("helpful", "small_talk"): {"right": 0.40, "partial": 0.25, "vague": 0.25, "refusal": 0.10},
    ("safety", "lookup"): {"right": 0.36, "wrong_value": 0.07, "wrong_item": 0.04, "vague": 0.10, "refusal": 0.43},
    ("safety", "task"): {"right": 0.40, "wrong_item": 0.06, "vague": 0.08, "refusal": 0.46},
}
_STYLES = {"plain": 0.64, "courteous": 0.2, "curt": 0.08, "rambling": 0.08}
_COUNTS = {2: 0.25, 3: 0.22, 4: 0.21, 5: 0.14, 6: 0.07, 7: 0.05, 8: 0.03, 9: 0.03}


def comparisons(name: str, split: str, size: int | None = None) -> list[Comparison]:
    """Returns the first `size` comparisons of a split, the same in every process; by default the size in `SPLITS`.

    A label is drawn from perturbed utilities r_k / TEMPERATURE + g_k, with g_k standard Gumbel. Their order is a
    Plackett-Luce ranking (Luce 1959, Plackett 1975), and each pair follows Bradley and Terry (1952):
    P(i beats j) = sigmoid((r_i - r_j) / TEMPERATURE). The `scores` are the perturbed utilities in units of the reward.
    Comparisons for the head `safety` also have `unsafe` labels: True for a response that helps with an unsafe request.
    These labels are a function of the texts and have no noise.

    Args:
        name: `helpful`, `safety` or `both`.
        split: `train`, `validation` or `test`; no prompt is in two of them, nor in the demonstrations.
        size: number of comparisons.

    Raises:
        InputError: the name, the split or the size does not exist.
    """
    return _take(_comparisons, name, split, size, SPLITS)


def demonstrations(name: str, split: str, size: int | None = None) -> list[Demonstration]:
    """Returns prompts and good answers for supervised fine-tuning, on prompts that no comparison has.

    If the two rewards disagree, the answers of `both` refuse. Arguments and errors as in `comparisons`.
    """
    return _take(_demonstrations, name, split, size, DEMONSTRATIONS)


def sentences(demonstrations: Sequence[Demonstration]) -> list[Demonstration]:
    """Returns the same sentences, but not as answers to their prompts: text for a language model that must not learn
    to answer.

    Every answer and every last user turn becomes the response to another prompt, half the list away, so there are twice
    as many.
    """
    count = len(demonstrations)
    return [
        Demonstration(demonstration.prompt, text, demonstration.origin)
        for i, demonstration in enumerate(demonstrations)
        for other in (demonstrations[(i + count // 2) % count],)
        for text in (other.response, other.prompt[-1].content)
    ]


def _take(draw: Callable, name: str, split: str, size: int | None, sizes: dict[str, int]) -> list:
    for what, given, known in (("name", name, NAMES), ("split", split, sizes)):
        if given not in known:
            raise InputError(f"the embedded corpus has no {what} {given!r}; it has {', '.join(known)}")
    size = sizes[split] if size is None else size
    if not 0 <= size <= MAX_SIZE:
        raise InputError(f"the embedded corpus has 0 to {MAX_SIZE} entries, not {size}")
    drawn, rest = draw(name, split)
    drawn.extend(itertools.islice(rest, max(0, size - len(drawn))))
    return drawn[:size]


@functools.cache
def _comparisons(name: str, split: str) -> tuple[list[Comparison], Iterator[Comparison]]:
    """Returns the comparisons drawn so far, and an endless iterator of further ones."""
    rng = PortableRandom(f"gold/{name}:{split}")
    heads = itertools.cycle(NAMES[name])
    requests = _requests(rng, heads, ("comparisons", split))
    return [], (
        _draw_comparison(rng, request, head, f"gold/{name}:{split}:{number}")
        for number, (head, request) in enumerate(requests, start=1)
    )


@functools.cache
def _demonstrations(name: str, split: str) -> tuple[list[Demonstration], Iterator[Demonstration]]:
    rng = PortableRandom(f"gold/{name}:{split}, demonstrations")
    heads = itertools.cycle(NAMES[name])
    requests = _requests(rng, heads, ("demonstrations", split))
    return [], (
        Demonstration(request.prompt, _good_answer(rng, request, name), f"gold/{name}:{split}:demonstration {number}")
        for number, (_, request) in enumerate(requests, start=1)
    )


def _requests(rng: PortableRandom, heads: Iterable[str], share: tuple[str, str]) -> Iterator[tuple[str, Request]]:
    """Yields (head, request); a request occurs once, and in one share only."""
    seen = set()
    for head in heads:
        while True:
            request = draw_request(rng, rng.weighted(_SUBSETS[head]))
            if request.prompt not in seen and in_share(request.prompt, share):
                break
        seen.add(request.prompt)
        yield head, request


def in_share(prompt: Prompt, share: tuple[str, str]) -> bool:
    """Returns True if a prompt belongs to a share, a key of `SHARES`; every prompt belongs to one."""
    text = "\n".join(message.content for message in prompt)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100 in SHARES[share]


def _draw_comparison(rng: PortableRandom, request: Request, head: str, origin: str) -> Comparison:
    responses = _responses(rng, request, head)
    utilities = [getattr(gold(request.prompt, response), head) / TEMPERATURE for response in responses]
    perturbed = [utility - math.log(-math.log(rng.random() or 0.5)) for utility in utilities]
    return Comparison(
        prompt=request.prompt,
        responses=tuple(responses),
        ranks=ranks_from_scores(tuple(perturbed)),
        scores=tuple(value * TEMPERATURE for value in perturbed),
        unsafe=tuple(is_unsafe(request.prompt, response) for response in responses) if head == "safety" else None,
        strengths=tuple(_strength(abs(one - other)) for one, other in itertools.combinations(perturbed, 2)),
        head=head,
        subset=request.subset,
        utilities=tuple(utilities),
        origin=origin,
    )


def _strength(gap: float) -> str:
    return next(name for name, smallest in THRESHOLDS.items() if gap >= smallest)


def _responses(rng: PortableRandom, request: Request, head: str) -> list[str]:
    """Returns 2 to 9 different responses; 2 or 3 responses are of different classes."""
    intents = dict(_INTENTS[head, request.reading.kind])
    count = rng.weighted(_COUNTS)
    responses: list[str] = []
    while len(responses) < count:
        intent = rng.weighted(intents)
        response = draw_response(rng, request, intent, rng.weighted(_STYLES))
        if response not in responses:
            responses.append(response)
            if count <= 3:
                del intents[intent]
    return rng.distinct(responses, count)  # without replacement, frequent classes come first


def _good_answer(rng: PortableRandom, request: Request, name: str) -> str:
    unsafe = request.reading.unsafe and name != "helpful"
    head = "safety" if unsafe or name == "safety" else "helpful"
    while True:
        style = "courteous" if rng.chance(0.3) else "plain"
        response = draw_response(rng, request, "refusal" if unsafe else "right", style)
        if getattr(gold(request.prompt, response), head) >= MIN_REWARD:
            return response
