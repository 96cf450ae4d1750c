"""Training loop of SFT and reward models: steps, progress bar, metrics, and callbacks."""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence

import jax
import optax
from tqdm import tqdm

from rmjax.data.batch import PackedBatch
from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process
from rmjax.scoring.run_checkpoints import list_checkpoints
from rmjax.training.callbacks import Callback, run_callbacks
from rmjax.training.run import RunDirectory
from rmjax.training.signals import Interrupted, catch_signals, stop_requested
from rmjax.training.step import TrainState

Step = Callable[[TrainState, PackedBatch], tuple[TrainState, dict[str, jax.Array]]]


def fit(
    state: TrainState,
    step_fn: Step,
    stream: BatchStream,
    run: RunDirectory,
    *,
    start: int,
    stop: int,
    schedule: optax.Schedule,
    log_every: int,
    callbacks: Sequence[Callback],
    title: str,
    unit: str,
) -> TrainState:
    """Runs steps `start` to `stop`; the last step is always logged and followed by every callback.

    The metrics of a step are read after the next step was started, so that the device computes while the host prints.
    They are read, and must be finite, before any callback.

    Args:
        state: laid out over the devices; it is donated.
        step_fn: from `make_train_step`.
        stream: batches by step.
        run: receives the metrics.
        start: steps that the state has already done.
        stop: steps of the complete run.
        schedule: learning rate by step, for the log.
        log_every: steps between two lines of metrics.
        callbacks: evaluation, checkpoints, and other work between steps.
        title: title of the progress bar.
        unit: unit of the progress bar, such as comparisons.

    Returns:
        The state after `stop` steps.

    Raises:
        InputError: a metric is not finite; the last checkpoint is unharmed.
        Interrupted: SIGINT, SIGTERM or SIGHUP came; the callbacks with `on_stop` were called for the current step.
    """
    began = time.monotonic()
    sizes = batch_sizes(stream, stop)
    bar = tqdm(
        total=sum(sizes),
        initial=sum(sizes[:start]),
        desc=f"{title}, compiling",
        bar_format=f"{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}} {unit} [{{elapsed}}<{{remaining}}{{postfix}}]",
        disable=not is_main_process(),
        mininterval=0.5 if sys.stderr.isatty() else 15,
        dynamic_ncols=True,
    )
    pending: list[tuple[int, dict[str, jax.Array]]] = []

    def advance(done: int) -> None:
        if done - 1 > start:
            bar.update(sizes[done - 1])
            return
        # The first step compiles: its time would make the estimate of the rest too long.
        bar.n += sizes[start]
        bar.initial = bar.last_print_n = bar.n
        bar.unpause()
        bar.set_description(title)

    def read_metrics() -> None:
        while pending:
            done, device_metrics = pending.pop()
            metrics = {name: float(value) for name, value in jax.device_get(device_metrics).items()}
            if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
                raise not_finite(run, f"{title}: {bad[0]} is not finite at step {done}")
            advance(done)
            if done % log_every == 0 or done == stop:
                rate = float(schedule(done - 1))
                run.log({"step": done, **metrics, "learning_rate": rate, "seconds": time.monotonic() - began})
                bar.set_postfix_str(f"loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.3f}", refresh=False)

    # Until the first step is compiled there is nothing to save, and a signal may end the process at once; but not one
    # of several processes, for which the others would wait.
    alone, caught = jax.process_count() == 1, list[int]()
    with contextlib.ExitStack() as signals, bar:
        if not alone:
            caught = signals.enter_context(catch_signals())
        for done, batch in enumerate(stream.prefetch(start, stop), start + 1):
            state, device_metrics = step_fn(state, batch)
            if alone and done == start + 1:
                caught = signals.enter_context(catch_signals())
            read_metrics()
            pending.append((done, device_metrics))
            # Asked once per step: a signal that arrives after the answer waits for the next step, which then saves.
            asked = functools.partial(stop_requested, caught, done % log_every == 0)
            stopping = functools.cache(lambda done=done, asked=asked: done < stop and asked())
            run_callbacks(callbacks, state, done, stop=stop, stopping=stopping, run=run, before=read_metrics)
            if stopping():
                read_metrics()
                print(f"\nstopped at step {done} of {stop}, saved; the same command resumes", file=sys.stderr)
                raise Interrupted(128 + (caught or [signal.SIGTERM])[0])
        if stop_requested(caught, True):  # in the last step, or in the evaluation or the save after it
            print(f"\nstopped after the last step, {stop}, saved; the same command goes on", file=sys.stderr)
            raise Interrupted(128 + (caught or [signal.SIGTERM])[0])
    return state


def not_finite(run: RunDirectory, what: str) -> InputError:
    """Returns the error of a run with a number that is not finite."""
    saved = list_checkpoints(run.checkpoints)
    unharmed = f"the checkpoint {saved[-1]} is unharmed" if saved else "no checkpoint has been saved"
    return InputError(f"{what}; {unharmed}. Lower optimizer.learning_rate or optimizer.clip_norm")


def batch_sizes(stream: BatchStream, stop: int) -> list[int]:
    """Returns the number of examples in each of the first `stop` batches."""
    chunks = ([chunk for rows in parts for row in rows for chunk in row] for parts in stream.plan[:stop])
    return [len({chunk.example for chunk in batch}) for batch in chunks]
