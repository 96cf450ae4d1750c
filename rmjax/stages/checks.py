"""What can be wrong with a run's settings and data, found before anything is trained or written."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from rmjax.data.comparisons import Comparison
from rmjax.data.examples import head_index
from rmjax.data.sources import parse_sources
from rmjax.errors import InputError
from rmjax.models.transformer import REMAT
from rmjax.parallel.layout import make_layout
from rmjax.stages.datasets import ComparisonSplits, Config
from rmjax.training.loop import Intervals
from rmjax.training.objectives import LossConfig
from rmjax.training.optimizer import make_optimizer

DTYPES = ("float32", "bfloat16")


def check_settings(config: Config, *stages: str) -> None:
    """Raises InputError for settings that training would only stumble over later."""
    compute_dtype(config)
    if config["seed"] < 0:
        raise InputError(f"seed must not be negative, found {config['seed']}")
    if config["init_seed"] < -1:
        raise InputError(f"init_seed must not be negative, but for -1, found {config['init_seed']}")
    make_layout(**config["parallel"])
    longest = config["tokenizer"]["max_prompt"] + config["tokenizer"]["max_response"] + 1
    for stage in stages:
        settings = config[stage]
        if settings["remat"] not in REMAT:
            raise InputError(f"unknown {stage}.remat {settings['remat']!r}: known are {', '.join(REMAT)}")
        for name in ("batch_size", "epochs", "microbatches", "keep"):
            if settings[name] < 1:
                raise InputError(f"{stage}.{name} must be at least 1, found {settings[name]}")
        if settings["max_steps"] < 0:
            raise InputError(f"{stage}.max_steps must not be negative, found {settings['max_steps']}")
        if settings["row_length"] and settings["row_length"] < longest:
            raise InputError(
                f"{stage}.row_length={settings['row_length']} is too short: tokenizer.max_prompt + max_response + 1 "
                f"(EOS) is {longest}; 0 fits the rows to the data"
            )
        cadence = Intervals(settings["log_every"], settings["evaluate_every"], settings["checkpoint_every"])
        if settings["select"] not in ("last", "best"):
            raise InputError(f"unknown {stage}.select {settings['select']!r}: known are last and best")
        if settings["select"] == "best" and not cadence.evaluate == cadence.checkpoint > 0:
            raise InputError(
                f"{stage}.select=best chooses among checkpoints by their validation loss: set {stage}.evaluate_every "
                f"and {stage}.checkpoint_every to the same number of steps"
            )
        make_optimizer(total_steps=1, **settings["optimizer"])


def check_sources(data: Config) -> None:
    """Raises InputError if the evaluation source seems forgotten: one of the corpus and the other not, and nothing in
    data.eval that shows a choice, as a file, a split or a slice does.

    Such a run would report an accuracy on other data than the user's.
    """
    learned, reported = (parse_sources(data[name]) for name in ("train", "eval"))
    if {source.kind == "gold" for source in learned} & {source.kind == "gold" for source in reported}:
        return
    if any(source.kind == "jsonl" or source.split or source.start or source.stop for source in reported):
        return
    raise InputError(
        f"data.train={data['train']} is reported on data.eval={data['eval']}, which is data of another kind: set "
        "data.eval, to jsonl:TEST.jsonl, to hh_rlhf/helpful (its test split), or to the rest of the same file "
        "([:90%] in data.train and [90%:] in data.eval); "
        f"if it is meant, write data.eval={','.join(f'{source.kind}/{source.name}:test' for source in reported)}"
    )


def check_splits(judgements: ComparisonSplits, heads: Sequence[str]) -> None:
    """Raises InputError unless every head has comparisons to learn from and a preference to be measured by.

    A head without data would keep its random weights and still give scores.
    """
    for name, comparisons in (
        ("training", judgements.train),
        ("validation", judgements.validation),
        ("evaluation", judgements.test),
    ):
        untied = dict.fromkeys(heads, 0)
        for comparison in comparisons:
            untied[heads[head_index(comparison, heads)]] += any(not pair.tied for pair in comparison.pairs)
        for head, count in untied.items():
            if not count:
                raise InputError(
                    f"the {name} data hold no comparison with a preference for the head {head!r}: change data or heads"
                )


def check_gate(config: Config) -> None:
    """Raises InputError unless the gate, if there is one, joins two heads of the model."""
    gate = list(config["gate"])
    if gate and (len(gate) != 2 or len(set(gate)) != 2 or not set(gate) <= set(config["heads"])):
        raise InputError(
            f"gate names a helpfulness and a safety head of the model ({', '.join(config['heads'])}), or nothing: "
            f"found {', '.join(gate)}"
        )


def check_ratings(comparisons: Sequence[Comparison], loss: LossConfig) -> None:
    """Raises InputError unless the training data state the ratings that a squared error needs."""
    for comparison in comparisons if loss.name == "squared_error" else ():
        if comparison.scores is None:
            raise InputError(f'{comparison.origin}: loss.name=squared_error needs "scores", and this has none')


def check_safety_labels(comparisons: Sequence[Comparison], loss: LossConfig) -> None:
    """Raises InputError if the loss asks which responses are unsafe and no training comparison says so."""
    if loss.auxiliary and all(comparison.unsafe is None for comparison in comparisons):
        raise InputError(
            f'loss.auxiliary={loss.auxiliary} needs "unsafe" for every response, but no training comparison states it: '
            "add it to some records, or set loss.auxiliary=0"
        )


def compute_dtype(config: Config) -> jnp.dtype:
    """The dtype of activations that the configuration names."""
    name = config["model"]["compute_dtype"]
    if name not in DTYPES:
        raise InputError(f"unknown model.compute_dtype {name!r}: known are {', '.join(DTYPES)}")
    return jnp.dtype(name)
