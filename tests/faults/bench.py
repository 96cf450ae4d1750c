"""The runs that faults are injected into, and how they are judged."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from fork_server import ForkServer, Outcome
from tiny_runs import command, contents, differences, write_data

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
        folder: temporary files.
        reference: digests of the uninterrupted run.
        stopped: a run directory that was killed in the middle of its second stage, with two checkpoints.
        finished: the directory of the uninterrupted run.
        expected: what `train_again`, `report` and `score` give for it.
        seconds: of the uninterrupted run, with a filled compilation cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = ForkServer(folder)
        self.data = folder / "data.jsonl"
        write_data(self.data)
        self.work = folder / "work" / "run"  # runs state their folder, so all have the same
        self.work.parent.mkdir()
        self.server.run(self.command())  # fills the compilation cache
        self._clear()
        listing = folder / "changes"
        began = time.monotonic()
        outcome = self.server.run(self.command(), hook={"folder": str(self.work), "list_in": str(listing)})
        self.seconds = time.monotonic() - began
        if outcome.status != 0:
            raise SystemExit(outcome.output)
        self.changes = listing.read_text().splitlines()
        self.reference = contents(self.work)
        self.finished = folder / "finished"
        shutil.copytree(self.work, self.finished)
        readers = (self.train_again, self.report, self.score)
        self.expected = {reader.__name__: reader()[1] for reader in readers}
        self.stopped = folder / "stopped"
        self._stop()

    def command(self) -> list[str]:
        """The command of the run."""
        return command(self.data, self.work)

    def begin(self, state: Path | None = None) -> None:
        """Makes the run directory a copy of another one, or removes it."""
        self._clear()
        if state:
            shutil.copytree(state, self.work)

    def train_again(self) -> tuple[Outcome, str]:
        """Runs the command of a finished run; returns what it prints."""
        outcome = self.server.run(self.command())
        return outcome, outcome.output

    def report(self) -> tuple[Outcome, str]:
        """Writes the report; returns the page."""
        return self._written("report", f"--workdir={self.work}")

    def score(self) -> tuple[Outcome, str]:
        """Scores the data with the last checkpoint; returns the records."""
        checkpoint = max((self.finished / "checkpoints").iterdir()).name
        flags = (f"--checkpoint={self.work / 'checkpoints' / checkpoint}", f"--input={self.data}")
        return self._written("score", *flags)

    def _written(self, script: str, *flags: str) -> tuple[Outcome, str]:
        output = self.folder / "written"
        output.unlink(missing_ok=True)
        outcome = self.server.run([f"experiments/{script}.py", *flags, f"--output={output}"])
        return outcome, output.read_text() if output.exists() else ""

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

    def _stop(self) -> None:
        """Stops a run after the first checkpoint of its second stage was followed by another."""
        wanted = f"{self.work}/checkpoints/000003.partial"
        number = next(i for i, line in enumerate(self.changes, 1) if wanted in line)
        self.begin()
        self.server.run(self.command(), hook={"folder": str(self.work), "kill_at": number})
        shutil.copytree(self.work, self.stopped)

    def _clear(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)

    def close(self) -> None:
        """Ends the server."""
        self.server.close()
