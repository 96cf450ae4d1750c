"""The training loop: one for SFT and reward model alike."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
from tqdm import tqdm

from rmjax.data.batch import PackedBatch
from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process
from rmjax.training.run import RunDirectory
from rmjax.training.step import TrainState

Step = Callable[[TrainState, PackedBatch], tuple[TrainState, dict[str, jax.Array]]]


class Interrupted(SystemExit):
    """The run was asked to stop, has saved where it was, and ends with the signal's exit status."""


@dataclasses.dataclass(frozen=True)
class Intervals:
    """How often things happen, in steps; 0 means only at the end.

    Attributes:
        log: a line in metrics.jsonl with the metrics of that step's batch.
        evaluate: an evaluation on the validation set.
        checkpoint: a checkpoint.
    """

    log: int
    evaluate: int
    checkpoint: int

    def __post_init__(self) -> None:
        if min(self.log, self.evaluate, self.checkpoint) < 0 or self.log == 0:
            raise InputError("log_every must be positive, evaluate_every and checkpoint_every not negative")


def fit(
    state: TrainState,
    step_fn: Step,
    stream: BatchStream,
    run: RunDirectory,
    *,
    start: int,
    stop: int,
    schedule: optax.Schedule,
    cadence: Intervals,
    save: Callable[[TrainState, int], Any],
    evaluate: Callable[[TrainState], dict[str, float]],
    title: str,
    unit: str,
) -> TrainState:
    """Steps `start` to `stop`, logging, evaluating and saving on the way; the last step always does all three.

    Metrics are read one step late, so that the device computes while the host prints. A loss that is not finite is
    found before anything is saved.

    Args:
        state: replicated; it is donated.
        step_fn: from `make_train_step`.
        stream: batches by step.
        run: receives the metrics.
        start: steps already behind the state.
        stop: steps at which the run is complete.
        schedule: learning rate by step, for the log.
        cadence: how often to log, evaluate and save.
        save: writes a checkpoint of the state.
        evaluate: metrics of the state on held-out data.
        title: what the progress bar is called.
        unit: what a batch is made of, for the rate.

    Returns:
        The state after `stop` steps.

    Raises:
        InputError: the loss is not finite; the last checkpoint stands.
        Interrupted: SIGINT or SIGTERM came; a checkpoint of the current step was written.
    """
    began = time.monotonic()
    sizes = [len({piece.example for bin_ in bins for row in bin_ for piece in row}) for bins in stream.plan[:stop]]
    bar = tqdm(
        total=sum(sizes),
        initial=sum(sizes[:start]),
        desc=title,
        unit=f" {unit}",
        disable=not is_main_process(),
        mininterval=0.5 if sys.stderr.isatty() else 15,
        dynamic_ncols=True,
    )

    def consume(done: int, device_metrics: dict[str, jax.Array]) -> None:
        metrics = {name: float(value) for name, value in jax.device_get(device_metrics).items()}
        if not all(math.isfinite(value) for value in metrics.values()):
            bad = next(name for name, value in metrics.items() if not math.isfinite(value))
            raise InputError(
                f"{title}: {bad} is not finite at step {done}; the last checkpoint in {run.checkpoints} stands. "
                "Lower optimizer.learning_rate or optimizer.clip_norm"
            )
        bar.update(sizes[done - 1])
        if done % cadence.log == 0 or done == stop:
            rate = float(schedule(done - 1))
            run.log({"step": done, **metrics, "learning_rate": rate, "seconds": time.monotonic() - began})
            bar.set_postfix(loss=f"{metrics['loss']:.3f}", accuracy=f"{metrics['accuracy']:.3f}", refresh=False)

    with catch_signals() as caught, bar:
        pending = None
        for done, batch in enumerate(stream.prefetch(start, stop), start + 1):
            state, device_metrics = step_fn(state, batch)
            if pending:
                consume(*pending)
            pending = (done, device_metrics)
            final = done == stop
            due_evaluate = final or (cadence.evaluate and done % cadence.evaluate == 0)
            due_save = final or (cadence.checkpoint and done % cadence.checkpoint == 0)
            if due_evaluate:
                consume(*pending)
                pending = None
                if row := evaluate(state):
                    run.log({"step": done, **row})
            # Looked at once: a signal may come at any moment, and one that is obeyed must have been saved for.
            stopping = not final and stop_requested(caught, done % cadence.log == 0)
            if due_save or stopping:
                if pending:
                    consume(*pending)
                    pending = None
                save(state, done)
            if stopping:
                print(f"\nstopped at step {done} of {stop}, saved; the same command resumes", file=sys.stderr)
                raise Interrupted(128 + (caught or [signal.SIGTERM])[0])
    return state


def stop_requested(caught: list[int], due: bool) -> bool:
    """Whether a signal has come: to any process of several, which all ask each other when `due`, at the same step."""
    if jax.process_count() == 1:
        return bool(caught)
    if not due:
        return False
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array(bool(caught))).any())


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them; a second one of the same kind works as usual."""
    caught: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:
        pass  # not the main thread: signals are somebody else's
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
