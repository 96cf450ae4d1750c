"""What SFT and reward-model training have in common: a stage, run from its start or its last checkpoint to its end."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from rmjax.data.loader import BatchStream
from rmjax.data.packing import Example
from rmjax.models.attention import uses_dense_attention
from rmjax.models.config import HeadConfig
from rmjax.models.transformer import empty_batch, parameter_shapes
from rmjax.parallel.layout import Layout
from rmjax.parallel.mesh import Sharded, describe
from rmjax.parallel.processes import is_main_process, sync_processes
from rmjax.scoring.checkpoint import find_checkpoint, list_checkpoints, load_tree, save_checkpoint
from rmjax.scoring.contract import Contract
from rmjax.stages.datasets import Config
from rmjax.stages.initialization import Initialization
from rmjax.training.loop import Intervals, fit
from rmjax.training.objectives import LossFn
from rmjax.training.optimizer import make_optimizer
from rmjax.training.run import RunDirectory, write_json
from rmjax.training.step import TrainState, init_state, make_train_step


@dataclasses.dataclass(frozen=True)
class Stage:
    """What distinguishes one stage of training from another; `run_stage` does the rest.

    Attributes:
        title: what the progress bar says.
        unit: what batches are made of.
        model: the Flax module.
        start: tokenizer, and the weights that its trunk starts from.
        objective: the loss.
        examples: what it learns from.
        evaluate: a placed state -> metrics on held-out data.
        seal: a placed state and its step -> the contract to store.
    """

    title: str
    unit: str
    model: nn.Module
    start: Initialization
    objective: LossFn
    examples: Sequence[Example]
    evaluate: Callable[[TrainState], dict[str, float]]
    seal: Callable[[TrainState, int], Contract]


def run_stage(stage: Stage, config: Config, settings: Config, run: RunDirectory, layout: Layout) -> TrainState:
    """Trains a stage to its end, from its last checkpoint if it has one. Returns the final state, placed."""
    stream = BatchStream(
        stage.examples,
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        row_length=settings["row_length"],
        single_row=not uses_dense_attention(),
        microbatches=settings["microbatches"],
        shards=layout.shards,
        process=layout.process,
        seed=config["seed"],
        share_prompts=stage.start.trunk.causal,
    )
    packing = stream.statistics()
    write_json(run.path / "packing.json", {**stream.shape._asdict(), **packing})
    shared = (
        f"; prompts computed once: {packing['sharing']:.2f} times fewer tokens (ideal {packing['ideal_sharing']:.2f})"
    )
    print(f"{len(stream)} batches, {packing['padding']:.1%} padding{shared if packing['ideal_sharing'] > 1 else ''}")
    stop = min(settings["max_steps"] or len(stream), len(stream))
    optimizer, schedule = make_optimizer(total_steps=stop, **settings["optimizer"])
    step_fn = make_train_step(stage.objective, optimizer, layout)

    shapes = parameter_shapes(stage.model)
    done = 0
    if list_checkpoints(run.checkpoints):
        done, state = resume(run, jax.eval_shape(lambda params: init_state(params, optimizer), shapes), layout)
    else:
        params = initial_parameters(stage, shapes, jax.random.key(drawn_from(config)), layout)
        state = TrainState(jnp.zeros((), jnp.int32), params, layout.jit_init(optimizer.init, params))
        del params
    run.rewind(done)
    state = layout.device_put(state)
    if isinstance(layout, Sharded):
        print(describe(layout, state.params))

    def save(state: TrainState, step: int) -> None:
        plain = layout.unreplicate(state)
        optimizer_state = {"step": plain.step, "opt_state": plain.opt_state}
        save_checkpoint(
            run.checkpoints,
            stage.seal(state, step),
            stage.start.tokenizer,
            plain.params,
            optimizer_state,
            keep=settings["keep"],
        )

    cadence = Intervals(settings["log_every"], settings["evaluate_every"], settings["checkpoint_every"])
    state = fit(
        state,
        step_fn,
        stream,
        run,
        start=done,
        stop=stop,
        schedule=schedule,
        cadence=cadence,
        save=save,
        evaluate=stage.evaluate,
        title=stage.title,
        unit=stage.unit,
    )
    return select_best(run, state, layout) if settings["select"] == "best" else state


def select_best(run: RunDirectory, state: TrainState, layout: Layout) -> TrainState:
    """Returns the state, placed, with the parameters of the kept checkpoint that has the lowest validation loss.

    Later checkpoints are deleted, so that the selected one is what `rmjax.load` opens. `state` is the last one.
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
    sync_processes(f"selected {best}")
    for later in candidates[candidates.index(best) + 1 :]:
        if is_main_process():
            shutil.rmtree(later)
    step, opt_state = layout.unreplicate(state).step, layout.unreplicate(state).opt_state
    return layout.device_put(TrainState(step, load_tree(best / "params", layout=layout), opt_state))


def drawn_from(config: Config) -> int:
    """The seed of the weights that are drawn at random."""
    return config["seed"] if config["init_seed"] == -1 else config["init_seed"]


def initial_parameters(stage: Stage, shapes: Any, key: jax.Array, layout: Layout) -> Any:
    """The weights that a stage starts with, plain; what they lack is drawn at random, and nothing else is."""
    # A reward model takes the trunk and leaves the output layer behind; a language model that goes on takes both.
    weights = {name: part for name, part in stage.start.weights(shapes, layout).items() if name in shapes}
    fresh = sorted(shapes.keys() - weights.keys())
    if weights and fresh:
        print(f"freshly initialised: {', '.join(fresh)}")
    batch = empty_batch()
    drawn = layout.jit_init(lambda key: {name: stage.model.init(key, batch)["params"][name] for name in fresh}, key)
    return {**drawn, **weights}


def resume(run: RunDirectory, state: TrainState, layout: Layout) -> tuple[int, TrainState]:
    """The step and state, plain, of the run's last sound checkpoint; `state` has the shapes."""
    checkpoint = find_checkpoint(run.checkpoints)
    sync_processes(f"found {checkpoint}")
    for later in list_checkpoints(run.checkpoints):
        if is_main_process() and int(later.name) > int(checkpoint.name):
            shutil.rmtree(later)  # damaged, as find_checkpoint has said; its step will be written anew
    stored = load_tree(checkpoint / "optimizer", {"step": state.step, "opt_state": state.opt_state}, layout=layout)
    params = load_tree(checkpoint / "params", state.params, layout=layout)
    state = TrainState(stored["step"], params, stored["opt_state"])
    print(f"resuming {run.path} at step {int(state.step)}")
    return int(state.step), state


def make_contract(
    kind: str, head: HeadConfig, config: Config, start: Initialization, source: str, data: dict[str, Any]
) -> Contract:
    """The contract of a stage's checkpoints, before anything is known of its scores."""
    return Contract(
        kind=kind,
        step=0,
        trunk=start.trunk,
        head=head,
        compute_dtype=config["model"]["compute_dtype"],
        **start.tokenizer.stated(),
        data={"source": source, "start": start.origin, "init_seed": drawn_from(config), **data},
    )
