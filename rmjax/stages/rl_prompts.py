"""Prompts of an RL run: loaded, held out, tokenized, and divided into iterations."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from rmjax.data.comparisons import Demonstration, Prompt
from rmjax.data.hold_out import eval_share, hold_out
from rmjax.data.sources import load_prompts as load_records
from rmjax.data.sources import parse_sources
from rmjax.data.tokenizer import ResponseIds, Tokenizer
from rmjax.errors import InputError
from rmjax.stages.rl_settings import PromptSettings


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Conversations with their ids, `[T] int32` each."""

    prompts: tuple[Prompt, ...]
    ids: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, indices: Sequence[int] | np.ndarray) -> Prompts:
        """Returns the prompts with these indices."""
        return Prompts(tuple(self.prompts[i] for i in indices), tuple(self.ids[i] for i in indices))


@dataclasses.dataclass(frozen=True)
class PromptSplits:
    """Distinct prompts to train on, to validate on, and to report on."""

    train: list[Prompt]
    validation: list[Prompt]
    eval: list[Prompt]


def load_prompts(data: PromptSettings) -> PromptSplits:
    """Loads the prompts of a run. Warns of training prompts that are evaluated on.

    Raises:
        InputError: a source cannot be read.
    """
    learned = load_records(data.train, "train", manual_dir=data.manual_dir, reading=data.reading())
    if (share := eval_share(data.eval)) is None:
        reported = load_records(data.eval, "test", manual_dir=data.manual_dir, reading=data.reading())
    else:
        learned, reported = hold_out(learned, share, "eval")
    if data.validation:
        held_out = load_records(data.validation, "validation", manual_dir=data.manual_dir, reading=data.reading())
    else:
        learned, held_out = hold_out(learned, data.holdout)
    splits = PromptSplits(
        _distinct(learned),
        _distinct(held_out)[: data.validation_prompts],
        _distinct(reported)[: data.eval_prompts],
    )
    for name in ("validation", "eval"):
        if shared := len(set(splits.train) & set(getattr(splits, name))):
            print(f"warning: {shared} prompts of data.{name} are trained on: its results are too good", file=sys.stderr)
    return splits


def _distinct(items: Sequence[Demonstration]) -> list[Prompt]:
    return list(dict.fromkeys(item.prompt for item in items))


def encode_prompts(prompts: Sequence[Prompt], tokenizer: Tokenizer, max_response: int, name: str) -> Prompts:
    """Returns prompts with their ids, cut at their beginning so that a response of `max_response` tokens fits.

    Raises:
        InputError: the model has no room for so long a response.
    """
    if max_response > tokenizer.max_response + len(tokenizer.ending):
        raise InputError(
            f"rollout.max_response={max_response} is more than the {tokenizer.max_response} tokens and the ending that "
            "the policy was trained with: lower it"
        )
    room = ResponseIds(np.zeros(max_response, np.int32), 0)
    encoded = [tokenizer.truncate(ids, [room])[0] for ids in tokenizer.encode_prompts(prompts)]
    if cut := sum(prompt.cut > 0 for prompt in encoded):
        print(f"{cut} of {len(encoded)} {name} prompts are too long and lose their first tokens")
    return Prompts(tuple(prompts), tuple(prompt.ids for prompt in encoded))


def batch_indices(count: int, size: int, *, seed: int, step: int) -> np.ndarray:
    """Returns the indices of the prompts of an iteration: every pass over `count` prompts has its own order.

    Example:
        >>> sorted(batch_indices(4, 2, seed=0, step=0).tolist() + batch_indices(4, 2, seed=0, step=1).tolist())
        [0, 1, 2, 3]
    """
    positions = np.arange(step * size, (step + 1) * size)
    orders = {epoch: np.random.default_rng((seed, epoch)).permutation(count) for epoch in np.unique(positions // count)}
    return np.array([orders[position // count][position % count] for position in positions])


def gold_rewards(data: PromptSettings) -> tuple[str, ...]:
    """Returns the gold rewards of the prompts, of `helpful` and `safety`; none outside the embedded corpus."""
    return gold_rewards_of(data.train, *((data.eval,) if eval_share(data.eval) is None else ()))


def gold_rewards_of(*specs: str) -> tuple[str, ...]:
    """Returns the gold rewards of sources, of `helpful` and `safety`; none if one is not the embedded corpus.

    Example:
        >>> gold_rewards_of("gold/both[:90%]"), gold_rewards_of("gold/helpful,jsonl:mine.jsonl")
        (('helpful', 'safety'), ())
    """
    sources = [source for spec in specs for source in parse_sources(spec)]
    if any(source.kind != "gold" for source in sources):
        return ()
    names = {source.name for source in sources}
    return tuple(name for name in ("helpful", "safety") if names & {name, "both"})
