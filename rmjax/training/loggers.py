"""Copies of the training log in TensorBoard and Weights & Biases.

`metrics.jsonl` stays the truth: a logger gets its rows, under their own names, after they are written. So a resumed run
shows every step once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rmjax.errors import InputError
from rmjax.parallel.processes import is_main_process
from rmjax.training.run import RunDirectory, write_json

Row = Mapping[str, Any]


def scalars(row: Row) -> dict[str, float]:
    """Returns the numbers of a row of `metrics.jsonl` without its step; the entries of a list have their own names.

    Example:
        >>> scalars({"step": 3, "loss": 0.5, "validation/score_ci95": [0.25, 1], "note": None})
        {'loss': 0.5, 'validation/score_ci95/0': 0.25, 'validation/score_ci95/1': 1}
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        entries = {f"{name}/{i}": entry for i, entry in enumerate(value)} if isinstance(value, list) else {name: value}
        found |= {key: entry for key, entry in entries.items() if isinstance(entry, int | float) and key != "step"}
    return found


class TensorBoard:
    """Event files in the folder `tensorboard` of a run, written anew from `metrics.jsonl` when the run is resumed."""

    def __init__(self, run: RunDirectory) -> None:
        from tensorboardX import SummaryWriter

        shutil.rmtree(run.tensorboard, ignore_errors=True)
        self.writer = SummaryWriter(str(run.tensorboard))

    def begin(self, rows: Sequence[Row], removed: int) -> None:
        """Writes the rows that the run has already."""
        for row in rows:
            self.log(row)

    def log(self, row: Row) -> None:
        """Writes a row."""
        for name, value in scalars(row).items():
            self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Writes what is left, and closes the file."""
        self.writer.close()


class Wandb:
    """A run of Weights & Biases, with the same id when the run is resumed.

    Rows that cannot be taken back are not sent twice: a resumed run logs the same rows in the same order.

    Raises:
        InputError: wandb cannot begin, as without a login.
    """

    def __init__(self, run: RunDirectory) -> None:
        import wandb

        self.known = run.wandb_file.is_file()
        name = json.loads(run.wandb_file.read_text())["id"] if self.known else secrets.token_hex(4)
        try:
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "rmjax"),
                id=name,
                name=str(run.path),
                dir=str(run.path),
                config=dict(run.config),
                resume="allow",
                reinit="create_new",
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise InputError(f"wandb cannot begin a run ({reason}): log in, or set WANDB_MODE=offline") from None
        write_json(run.wandb_file, {"id": name})
        self.skipped = 0

    def begin(self, rows: Sequence[Row], removed: int) -> None:
        """Sends the rows that the run has already, unless an earlier process did."""
        self.skipped = removed if self.known else 0
        for row in () if self.known else rows:
            self._send(row)

    def log(self, row: Row) -> None:
        """Sends a row, unless an earlier process did."""
        if self.skipped:
            self.skipped -= 1
        else:
            self._send(row)

    def _send(self, row: Row) -> None:
        self.run.log(scalars(row), step=row["step"])

    def close(self) -> None:
        """Waits until everything is sent or on the disk."""
        self.run.finish()


# Name in a configuration -> (logger, package).
LOGGERS: dict[str, tuple[type[TensorBoard] | type[Wandb], str]] = {
    "tensorboard": (TensorBoard, "tensorboardX"),
    "wandb": (Wandb, "wandb"),
}


def parse_loggers(names: str) -> list[str]:
    """Returns the names of a configuration, which are joined by commas.

    Raises:
        InputError: there is no such logger, or its package is not installed.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    for name in found:
        if name not in LOGGERS:
            raise InputError(f"loggers must be of {', '.join(LOGGERS)}, joined by commas, found {name!r}")
        package = LOGGERS[name][1]
        if importlib.util.find_spec(package) is None:
            raise InputError(f'loggers={name} needs the package {package}: pip install -e ".[{name}]"')
    return found


@contextlib.contextmanager
def logging_to(run: RunDirectory, names: str) -> Iterator[None]:
    """Copies every row that a run logs to the loggers that are named, until the end of the block.

    The block calls `run.rewind` before it logs.
    """
    with contextlib.ExitStack() as stack:
        for name in parse_loggers(names) if is_main_process() else ():
            logger = LOGGERS[name][0](run)
            stack.callback(logger.close)
            run.loggers.append(logger)
        stack.callback(run.loggers.clear)
        yield
