"""Checks of a run's data, made before anything is trained or written."""

from __future__ import annotations

from collections.abc import Sequence

from rmjax.data.comparisons import Comparison, head_index
from rmjax.data.hold_out import eval_share
from rmjax.data.readers import READERS
from rmjax.data.sources import parse_sources
from rmjax.errors import InputError
from rmjax.stages.data_settings import DataSettings
from rmjax.stages.datasets import ComparisonSplits
from rmjax.training.objectives import LossConfig


def check_sources(data: DataSettings) -> None:
    """Raises InputError if the evaluation source seems forgotten.

    One of data.train and data.eval is then from the gold corpus and the other is not, and data.eval shows no choice, as
    a file, a split or a slice does. Such a run would report an accuracy on other data than the user's.
    """
    if eval_share(data.eval) is not None:
        return
    learned, reported = parse_sources(data.train), parse_sources(data.eval)
    if {source.kind == "gold" for source in learned} & {source.kind == "gold" for source in reported}:
        return
    if any(READERS[source.kind].is_own_data or source.split or source.start or source.stop for source in reported):
        return
    raise InputError(
        f"data.train={data.train} is reported on data.eval={data.eval}, which is data of another kind: set "
        "data.eval, to holdout (10 % of the prompts of data.train), to jsonl:TEST.jsonl, to hh_rlhf/helpful (its test "
        "split), or to the rest of the same file ([:90%] in data.train and [90%:] in data.eval); "
        f"if it is meant, write data.eval={','.join(f'{source.kind}/{source.name}:test' for source in reported)}"
    )


def check_splits(splits: ComparisonSplits, heads: Sequence[str]) -> None:
    """Raises InputError unless every split has a comparison with a preference between two texts for every head.

    A head without data would keep its random weights and still give scores.
    """
    titles = {"train": "training", "validation": "validation", "test": "evaluation"}
    for name, comparisons in splits.items():
        untied = dict.fromkeys(heads, 0)
        for comparison in comparisons:
            texts = comparison.responses
            untied[heads[head_index(comparison, heads)]] += any(
                not pair.tied and texts[pair.winner] != texts[pair.loser] for pair in comparison.pairs
            )
        for head, count in untied.items():
            if not count:
                raise InputError(
                    f"the {titles[name]} data hold no comparison with a preference for the head {head!r}: change data "
                    "or heads"
                )


def check_labels(comparisons: Sequence[Comparison], loss: LossConfig) -> None:
    """Raises InputError unless the training data have the ratings or safety labels that the loss needs."""
    for comparison in comparisons if loss.name == "squared_error" else ():
        if comparison.scores is None:
            raise InputError(f'{comparison.origin}: loss.name=squared_error needs "scores", and this has none')
    if loss.safety_coef and all(comparison.unsafe is None for comparison in comparisons):
        raise InputError(
            f'loss.safety_coef={loss.safety_coef} needs "unsafe" for every response, but no training comparison states '
            "it: add it to some records, or set loss.safety_coef=0"
        )
