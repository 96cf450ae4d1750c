"""The runs that faults are injected into, and how they are judged."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fork_server import ForkServer, Outcome
from tiny_runs import RUNS, contents, differences, tree_digest, write_data

from rmjax.report.report import report
from rmjax.scoring.run_checkpoints import find_checkpoint
from rmjax.training.run import RunDirectory

IDENTICAL, REFUSED = "identical", "refused"


@dataclasses.dataclass(frozen=True)
class Result:
    """How one fault ended: `identical`, `refused`, or what went wrong; `said` is the sentence of a refusal."""

    fault: str
    ended: str
    said: str = ""


class Bench:
    """A server, the data, and the uninterrupted run that all others are compared with.

    Attributes:
        server: starts the runs.
        run: what the runs are, a key of `RUNS`.
        folder: temporary files.
        reference: digests of the uninterrupted run.
        changes: the changes of files of a run, in their order.
        states: (change, copy of the run directory before it), without those that are equal to the one before.
        stopped: a run directory as it is in the middle of the last stage, with two checkpoints.
        finished: the directory of the uninterrupted run.
        expected: what its readers say.
        seconds: of the uninterrupted run, with a filled compilation cache.
    """

    readers = ("command", "report", "load")

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run
        self.server = ForkServer(folder)
        self.changes: list[str] = []
        self.states: list[tuple[str, Path]] = []
        self.data = folder / "data.jsonl"
        write_data(self.data)
        self.work = folder / "work" / "run"  # runs state their folder, so all have the same
        self.work.parent.mkdir()
        self.server.run(self.command())  # fills the compilation cache
        began = time.monotonic()
        outcome = self._record()
        self.seconds = time.monotonic() - began
        if outcome.status != 0:
            raise SystemExit(outcome.output)
        self.reference = contents(self.work)
        self.finished = folder / "finished"
        shutil.copytree(self.work, self.finished)
        self.config = json.loads((self.work / "config.json").read_text())
        self.expected = {reader: self.read(reader, self.work) for reader in self.readers}
        self.stopped = folder / "stopped"
        shutil.copytree(
            next(copy for what, copy in self.states if "RUN/checkpoints/000003.partial" in what), self.stopped
        )

    def command(self) -> list[str]:
        """The command of the run."""
        return RUNS[self.run](self.data, self.work)

    def begin(self, state: Path | None = None) -> None:
        """Makes the run directory a copy of another one, or removes it."""
        self._clear()
        if state and state.is_dir():
            shutil.copytree(state, self.work)

    def read(self, reader: str, path: Path) -> Any:
        """Returns what a reader of a finished run says: its command, its report, or for all loads `find_checkpoint`.

        `path`: a file of the run; if it is of a checkpoint, that one is searched.
        """
        if reader == "command":
            return RunDirectory(self.work, self.config).read_evaluation()
        if reader == "report":
            return report(self.work, self.folder / "page.html")
        checkpoints = [folder for folder in path.parents if folder.parent.name == "checkpoints"]
        return bool(find_checkpoint(checkpoints[0] if checkpoints else self.work))

    def resumed(self, fault: str, said: Callable[[str], bool] = lambda sentence: True, **options: bool) -> Result:
        """Runs the same command again, and judges how it ended."""
        outcome = self.server.run(self.command(), **options)
        return self.judged(fault, outcome, said)

    def judged(self, fault: str, outcome: Outcome, said: Callable[[str], bool] = lambda sentence: True) -> Result:
        """Returns whether a run is identical to the uninterrupted one, or refused in a sentence that `said` accepts."""
        if outcome.status == 0:
            if left := self.leftovers():
                return Result(fault, f"left over: {left}")
            wrong = differences(self.work, self.reference)
            return Result(fault, f"differs: {wrong}" if wrong else IDENTICAL)
        if not outcome.refusal:
            return Result(fault, outcome.last_lines)
        right = said(outcome.refusal)
        return Result(fault, REFUSED if right else f"unclear: {outcome.refusal}", outcome.refusal)

    def leftovers(self) -> str:
        """Returns temporary files of the run directory."""
        names = [str(path.relative_to(self.work)) for path in self.work.rglob("*")]
        return ", ".join(name for name in names if ".partial" in name or "tmp" in name or name.endswith("run.lock"))

    def _record(self) -> Outcome:
        """Runs the command, and keeps the run directory as it is before each change of a file."""
        copies = self.folder / "copies"
        copies.mkdir()
        self._clear()
        outcome = self.server.run(self.command(), hook={"folder": str(self.work), "copy_to": str(copies)})
        last = ""
        for number in range(1, len(list(copies.glob("*.txt"))) + 1):
            copy = copies / str(number)
            state = tree_digest(copy)
            self.changes.append((copies / f"{number}.txt").read_text().replace(str(self.work), "RUN"))
            if state != last:
                self.states.append((f"change {number}, {self.changes[-1]}", copy))
            last = state
        return outcome

    def _clear(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)

    def close(self) -> None:
        """Ends the server."""
        self.server.close()
