"""One stage of training, SFT or reward model: from its initialization or last checkpoint to its end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from rmjax.data.batch import Example
from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.models.attention import uses_dense_attention
from rmjax.models.config import HeadConfig
from rmjax.models.lora import is_adapter, join, split, without_adapters
from rmjax.models.transformer import empty_batch, parameter_shapes
from rmjax.parallel.layout import Layout
from rmjax.parallel.mesh import Sharded, describe
from rmjax.scoring.checkpoint import load_tree, save_checkpoint
from rmjax.scoring.contract import Contract
from rmjax.scoring.run_checkpoints import (
    last_checkpoint,
    list_checkpoints,
    remove_later,
)
from rmjax.stages.initialization import Initialization
from rmjax.stages.settings import RunSettings, SftSettings, StageSettings
from rmjax.training.callbacks import Callback
from rmjax.training.loggers import logging_to
from rmjax.training.loop import fit, not_finite
from rmjax.training.objectives import LossFn
from rmjax.training.optimizer import make_optimizer
from rmjax.training.run import RunDirectory, write_json
from rmjax.training.step import TrainState, all_finite, init_state, make_train_step

# Examples of all epochs together. The plan of all batches takes about 20 bytes for each, and a minute for 10 million.
LARGEST_PLAN = 2**28
PARTS = {"reward": "reward heads", "output": "output layer"}  # of a model, in words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """The parts in which stages of training differ; `run_stage` does the rest.

    Attributes:
        title: title of the progress bar.
        unit: unit of the progress bar.
        settings: batch size, epochs, optimizer and intervals.
        seed: of the order of the data.
        weights_seed: of random weights.
        loggers: names of the loggers of the run; see `rmjax.training.loggers`.
        model: the Flax module.
        start: tokenizer, and the weights that the trunk starts from.
        objective: the loss.
        examples: the training data.
        evaluate: a state on the devices -> metrics on held-out data.
        make_contract: a state on the devices and its step -> the contract to save with it.
    """

    title: str
    unit: str
    settings: StageSettings
    seed: int
    weights_seed: int
    loggers: str
    model: nn.Module
    start: Initialization
    objective: LossFn
    examples: Sequence[Example]
    evaluate: Callable[[TrainState], dict[str, float]]
    make_contract: Callable[[TrainState, int], Contract]


def run_stage(stage: Stage, run: RunDirectory, layout: Layout) -> TrainState:
    """Trains a stage to its end, from its last checkpoint if it has one. Returns the final state, on the devices."""
    settings = stage.settings
    stream = make_stream(stage.examples, settings, layout, seed=stage.seed, share_prompts=stage.start.trunk.causal)
    report_packing(stream, run)
    stop = min(settings.max_steps or len(stream), len(stream))
    if settings.max_steps > stop:
        print(
            f"{stage.title}: max_steps={settings.max_steps} is more than the data have: {stop} steps in "
            f"{settings.epochs} {'epoch' if settings.epochs == 1 else 'epochs'}; raise epochs for more"
        )
    optimizer, schedule = make_optimizer(settings.optimizer, stop)
    step_fn = make_train_step(stage.objective, optimizer, layout)

    shapes = parameter_shapes(stage.model)
    done, checkpoint = 0, None
    if list_checkpoints(run.checkpoints):
        checkpoint, state = resume(run, jax.eval_shape(lambda params: init_state(params, optimizer), shapes), layout)
        done = int(state.step)
    else:
        params = initial_parameters(stage, shapes, layout)
        state = TrainState(jnp.zeros((), jnp.int32), params, layout.jit_init(optimizer.init, split(params)[0]))
        del params
    state = layout.device_put(state)
    if stage.start.trunk.lora:
        print(adapters_in_words(shapes))
    if isinstance(layout, Sharded):
        print(describe(layout, state.params))

    def save(state: TrainState, step: int) -> None:
        saved = layout.unreplicate(state)
        if not all_finite(saved.params):  # the loss of a step is that before its update
            raise not_finite(run, f"{stage.title}: a weight is not finite after step {step}")
        optimizer_state = {"step": saved.step, "opt_state": saved.opt_state}
        contract = stage.make_contract(state, step)
        tokenizer = stage.start.tokenizer
        keep, logs = settings.keep, run.logs
        save_checkpoint(run.checkpoints, contract, tokenizer, saved.params, optimizer_state, keep=keep, logs=logs)

    with logging_to(run, stage.loggers):
        run.rewind(done, checkpoint)
        state = fit(
            state,
            step_fn,
            stream,
            run,
            start=done,
            stop=stop,
            schedule=schedule,
            log_every=settings.log_every,
            callbacks=(
                Callback(lambda state, _: stage.evaluate(state), every=settings.evaluate_every),
                Callback(save, every=settings.checkpoint_every, on_stop=True),
            ),
            title=stage.title,
            unit=stage.unit,
        )
    return select_best(run, state, layout) if settings.select == "best" else state


def adapters_in_words(shapes: Any) -> str:
    """Returns the numbers of trained and of all parameters of a model with adapters, by the shapes of its parameters.

    Example:
        adapters and heads: 0.9 of 135.4 million parameters are trained
    """
    trained, total = (
        sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree)) / 1e6 for tree in (split(shapes)[0], shapes)
    )
    return f"adapters and heads: {trained:.3g} of {total:.1f} million parameters are trained"


def make_stream(
    examples: Sequence[Example],
    settings: StageSettings,
    layout: Layout,
    *,
    seed: int,
    share_prompts: bool = True,
    epochs: int | None = None,
) -> BatchStream:
    """Returns the batches of a stage; `epochs` replaces the number in the settings.

    Raises:
        InputError: the epochs are too many to plan.
    """
    return BatchStream(
        examples,
        batch_size=settings.batch_size,
        epochs=epochs or planned_epochs(len(examples), settings),
        row_length=settings.row_length,
        single_row=not uses_dense_attention(),
        microbatches=settings.microbatches,
        shards=layout.shards,
        process=layout.process,
        seed=seed,
        share_prompts=share_prompts,
    )


def planned_steps(count: int, settings: StageSettings) -> int:
    """Returns the number of steps of a stage on `count` examples, as `run_stage` runs them.

    Example:
        >>> import types
        >>> planned_steps(33, types.SimpleNamespace(batch_size=16, epochs=2, max_steps=0))
        6
    """
    steps = -(-count // settings.batch_size) * settings.epochs
    return min(settings.max_steps or steps, steps)


def planned_epochs(examples: int, settings: StageSettings) -> int:
    """Returns the number of epochs that a stage begins: fewer than its settings say if max_steps ends it earlier.

    Raises:
        InputError: they are too many to plan.
    """
    batches = -(-examples // settings.batch_size)
    epochs = min(settings.epochs, -(-settings.max_steps // batches)) if settings.max_steps else settings.epochs
    if epochs * examples > LARGEST_PLAN:
        raise InputError(
            f"epochs={settings.epochs:,} of {examples:,} examples are more than the {LARGEST_PLAN:,} that can be "
            "planned: set fewer epochs or max_steps"
        )
    return epochs


def report_packing(stream: BatchStream, run: RunDirectory) -> None:
    """Writes and prints how well the rows of the batches are filled."""
    packing = stream.statistics()
    write_json(run.packing, {**stream.shape._asdict(), **packing})
    shared = (
        f"; prompts computed once: {packing['sharing']:.2f} times fewer tokens (ideal {packing['ideal_sharing']:.2f})"
    )
    print(f"{len(stream)} batches, {packing['padding']:.1%} padding{shared if packing['ideal_sharing'] > 1 else ''}")


def select_best(run: RunDirectory, state: TrainState, layout: Layout) -> TrainState:
    """Returns the state, on the devices, with the parameters of the checkpoint that has the lowest validation loss.

    Later checkpoints are deleted, so that `rmjax.load` opens the selected one. `state` is the last one.
    """
    losses = {row["step"]: row["validation_loss"] for row in run.metrics() if "validation_loss" in row}
    candidates = [path for path in list_checkpoints(run.checkpoints) if int(path.name) in losses]
    best = min(candidates, key=lambda path: losses[int(path.name)])
    if best == candidates[-1]:
        return state
    print(
        f"the validation loss is lowest at step {int(best.name)} ({losses[int(best.name)]:.3f}, at the end "
        f"{losses[int(candidates[-1].name)]:.3f}): later checkpoints are deleted"
    )
    remove_later(best)
    step, opt_state = layout.unreplicate(state).step, layout.unreplicate(state).opt_state
    return layout.device_put(TrainState(step, load_tree(best / "params", layout=layout), opt_state))


def initial_parameters(stage: Stage, shapes: Any, layout: Layout) -> Any:
    """Returns the initial weights of a stage, not replicated; those that its initialization lacks are random."""
    wanted = flatten_dict(shapes, sep="/")
    # A reward model takes the trunk and not the output layer; a language model takes both.
    stored = flatten_dict(stage.start.weights(without_adapters(shapes), layout), sep="/")
    weights = {path: x for path, x in stored.items() if path in wanted}
    fresh = sorted(wanted.keys() - weights.keys())
    if weights and fresh:
        parts = {"adapters" if is_adapter(path) else PARTS.get(part := path.split("/")[0], part) for path in fresh}
        print(f"randomly initialized: {', '.join(sorted(parts))}")
    batch, key = empty_batch(), jax.random.key(stage.weights_seed)

    def draw(key: jax.Array) -> dict[str, Any]:
        drawn = flatten_dict(stage.model.init(key, batch)["params"], sep="/")
        return unflatten_dict({path: drawn[path] for path in fresh}, sep="/")

    return join(layout.jit_init(draw, key), unflatten_dict(weights, sep="/"))


def resume(run: RunDirectory, state: TrainState, layout: Layout) -> tuple[Path, TrainState]:
    """Returns path and state, not replicated, of the run's last undamaged checkpoint; `state` has the shapes."""
    checkpoint = last_checkpoint(run.checkpoints)
    stored = load_tree(checkpoint / "optimizer", {"step": state.step, "opt_state": state.opt_state}, layout=layout)
    params = load_tree(checkpoint / "params", layout=layout)  # in the dtypes that they have there
    state = TrainState(stored["step"], params, stored["opt_state"])
    print(f"resuming {run.path} at step {int(state.step)}")
    return checkpoint, state


def base_contract(
    kind: str,
    head: HeadConfig,
    settings: RunSettings | SftSettings,
    start: Initialization,
    source: str,
    fingerprint: dict[str, Any],
) -> Contract:
    """Returns the part of a checkpoint's contract that does not depend on its scores."""
    origin = {"source": source, "start": start.origin, "init_seed": settings.weights_seed}
    return Contract(
        kind=kind,
        step=0,
        trunk=start.trunk,
        head=head,
        compute_dtype=settings.model.compute_dtype,
        **start.tokenizer.stated(),
        data={**origin, **fingerprint},
    )
