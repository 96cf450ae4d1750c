"""The kinds of faults: each has cases, and a way to inject one into a tiny run and to judge how it ended."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from bench import IDENTICAL, REFUSED, Bench, Result

from rmjax.errors import InputError

MANY = 10_000  # cases of a kind that could go on for ever
SOON = 10.0  # seconds in which a signal must be obeyed, or half a run on a busy machine

Case = Any


class Kills:
    """The end of the process before a change of a file: opened for writing, synced, renamed, removed, or created.

    The run directory is a copy of what it was at that moment, for every tenth state the one that SIGKILL left.
    """

    title = "the process ends before a change of a file"
    counts = (None, 2)

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        return list(enumerate(bench.states))

    def run(self, bench: Bench, case: Case) -> Result:
        i, (change, copy) = case
        if i % 10 == 5:
            bench.begin()
            bench.server.run(bench.command(), hook={"folder": str(bench.work), "kill_at": int(copy.name)})
            return bench.resumed(f"killed at {change}")
        bench.begin(copy)
        return bench.resumed(f"ended at {change}")


class Moments:
    """SIGKILL at a random moment: also within a write of orbax's threads, which no hook sees."""

    title = "SIGKILL at a random moment"
    counts = (30, 0)

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        return [draw.uniform(0, 1) for _ in range(MANY)]

    def run(self, bench: Bench, share: Case) -> Result:
        bench.begin()
        pid = bench.server.start(bench.command())
        time.sleep(share * bench.seconds)
        os.kill(pid, signal.SIGKILL)
        bench.server.wait(pid)
        return bench.resumed(f"killed after {share:.0%} of a run")


class Signals:
    """SIGTERM, SIGINT or SIGHUP at a random moment: stops soon, says how to go on, and resumes."""

    title = "SIGTERM, SIGINT or SIGHUP at a random moment"
    counts = (30, 1)

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        return [(names[i % 3], draw.uniform(0.05, 1)) for i in range(MANY)]

    def run(self, bench: Bench, case: Case) -> Result:
        number, share = case
        fault = f"{number.name} after {share:.0%} of a run"
        bench.begin()
        pid = bench.server.start(bench.command())
        time.sleep(share * bench.seconds)
        os.kill(pid, number)
        began = time.monotonic()
        outcome = bench.server.wait(pid)
        took = time.monotonic() - began
        if outcome.status == 0:  # it was finished, or past its last file
            return bench.judged(fault, outcome)
        if outcome.status != 128 + number or "the same command" not in outcome.output or "Traceback" in outcome.output:
            return Result(fault, f"after the signal: {outcome.last_lines}")
        if took > max(SOON, bench.seconds / 2):
            return Result(fault, f"stopped after {took:.1f} s")
        return bench.resumed(fault)


class TwoAtOnce:
    """A second run in the same directory: refused in one sentence; the first is not disturbed."""

    title = "a second run in the same directory"
    counts = (9, 1)

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        return [i / 10 for i in range(9)]

    def run(self, bench: Bench, share: Case) -> Result:
        bench.begin()
        pids = [bench.server.start(bench.command())]
        time.sleep(share * bench.seconds)
        pids.append(bench.server.start(bench.command()))
        outcomes = [bench.server.wait(pid) for pid in pids]
        fault = f"a second run after {share:.0%} of the first"
        refused = [outcome.refusal for outcome in outcomes if "is in use by process" in outcome.refusal]
        done = [outcome for outcome in outcomes if outcome.status == 0]
        if not done or len(refused) + len(done) < 2:
            return Result(fault, " | ".join(outcome.last_lines for outcome in outcomes))
        result = bench.judged(fault, done[0])
        return dataclasses.replace(result, ended=REFUSED, said=refused[0]) if refused else result


class StoppedBits:
    """One bit in a file of a stopped run, then the same command."""

    title = "one bit of a stopped run flipped"
    counts = (500, 2)

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        return [(draw.random(), draw.random(), draw.randrange(8)) for _ in range(MANY)]

    def run(self, bench: Bench, case: Case) -> Result:
        path, fault = _flipped(bench, bench.stopped, case)
        return _stopped_read(bench, fault, path)


class FinishedBits(StoppedBits):
    """One bit in a file of a finished run, then what reads it: its command, its report, or a load of the checkpoint.

    These readers need no new process.
    """

    title = "one bit of a finished run flipped"
    counts = (1000, 100)

    def run(self, bench: Bench, case: Case) -> Result:
        path, fault = _flipped(bench, bench.finished, case)
        said = ""
        for reader in bench.readers:
            try:
                if bench.read(reader, path) != bench.expected[reader]:
                    return Result(fault, f"{reader} differs")
            except InputError as error:
                said = str(error)
                if not named(said, path, bench.work):
                    return Result(fault, f"unclear: {said}")
            except Exception as error:
                return Result(fault, f"{reader}: {type(error).__name__}: {error}")
        return Result(fault, REFUSED if said else IDENTICAL, said)


def _flipped(bench: Bench, state: Path, case: Case) -> tuple[Path, str]:
    """Begins with a copy of a run directory with one flipped bit; returns the file, and the fault in words."""
    file, place, bit = case
    bench.begin(state)
    paths = [path for path in sorted(bench.work.rglob("*")) if path.is_file() and path.stat().st_size]
    path = paths[int(file * len(paths))]
    content = bytearray(path.read_bytes())
    byte = int(place * len(content))
    content[byte] ^= 1 << bit
    path.write_bytes(content)
    return path, f"{state.name} {path.relative_to(bench.work)} byte {byte} bit {bit}"


class DamagedFiles:
    """A file of a stopped run cut in half, emptied, deleted, or without permissions; then the same command."""

    title = "a file cut in half, empty, deleted, or not readable"
    counts = (None, 2)
    damage: ClassVar[dict[str, Callable[[Path], None]]] = {
        "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "empty": lambda path: path.write_bytes(b""),
        "deleted": lambda path: path.unlink(),
        "not readable": lambda path: path.chmod(0),
    }

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        files = [path.relative_to(bench.stopped) for path in sorted(bench.stopped.rglob("*")) if path.is_file()]
        return [(name, kind) for name in files for kind in self.damage]

    def run(self, bench: Bench, case: Case) -> Result:
        name, kind = case
        bench.begin(bench.stopped)
        self.damage[kind](bench.work / name)
        return _stopped_read(bench, f"{name} {kind}", bench.work / name, blind=kind == "not readable")


class FullDisk:
    """A disk that is full after a part of the bytes of a run: one sentence; with more space the run goes on."""

    title = "a disk that gets full"
    counts = (4, 1)

    def cases(self, bench: Bench, draw: random.Random) -> list[Case]:
        return [0.1, 0.3, 0.6, 0.85] if _can_mount(bench.work.parent) else []

    def run(self, bench: Bench, share: Case) -> Result:
        bench.begin()
        size = sum(path.stat().st_blocks * 512 for path in bench.finished.rglob("*"))
        fault = f"a disk of {share:.0%} of the bytes of a run"
        mount = bench.work.parent
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(share * size)}", "none", mount], check=True)
        try:
            outcome = bench.server.run(bench.command())
            if "cannot be written" not in outcome.refusal:
                return Result(fault, f"on the full disk: {outcome.last_lines}")
            subprocess.run(["mount", "-o", f"remount,size={4 * size}", mount], check=True)
            result = bench.resumed(fault)
            return dataclasses.replace(result, said=outcome.refusal)
        finally:
            subprocess.run(["umount", mount], check=True)


def _can_mount(folder: Path) -> bool:
    """Returns True if this process may mount a disk in memory, which containers often forbid, also to root."""
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", folder], check=True)
    return True


def _stopped_read(bench: Bench, fault: str, path: Path, **options: bool) -> Result:
    return bench.resumed(fault, lambda sentence: named(sentence, path, bench.work), **options)


def named(sentence: str, path: Path, work: Path) -> bool:
    """Returns True if a sentence names a file, or its checkpoint."""
    parts = path.relative_to(work).parts
    if "checkpoints" in parts:
        return str(work.joinpath(*parts[: parts.index("checkpoints")])) in sentence
    return path.name in sentence
