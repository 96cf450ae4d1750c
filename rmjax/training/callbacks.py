"""Periodic work of a training loop, such as evaluation and checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rmjax.training.run import RunDirectory


@dataclasses.dataclass(frozen=True)
class Callback:
    """Work that a loop does between two steps, and after its last step.

    Attributes:
        call: (state, step) -> metrics to log, or None.
        every: steps between two calls; 0: only after the last step.
        on_stop: also call it before the loop ends early on a signal, as for a checkpoint.
    """

    call: Callable[[Any, int], Mapping[str, float] | None]
    every: int
    on_stop: bool = False

    def due(self, step: int, stop: int) -> bool:
        """Returns True if the call follows `step` of a loop with `stop` steps."""
        return step == stop or (self.every > 0 and step % self.every == 0)


def run_callbacks(
    callbacks: Sequence[Callback],
    state: Any,
    step: int,
    *,
    stop: int,
    stopping: Callable[[], bool],
    run: RunDirectory,
    before: Callable[[], None],
) -> None:
    """Makes the calls that are due after a step, in their order, and logs their metrics.

    Args:
        callbacks: the callbacks.
        state: the state after the step.
        step: the number of steps done.
        stop: the number of steps of the whole loop.
        stopping: returns True if the loop ends after this step because of a signal.
        run: receives the metrics.
        before: called before every call that is due, to finish what the loop has still to do for this step.
    """
    for callback in callbacks:
        if callback.due(step, stop) or (callback.on_stop and stopping()):
            before()
            if row := callback.call(state, step):
                run.log({"step": step, **row})
