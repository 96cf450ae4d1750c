"""Launchers of the jobs of a sweep: processes on this machine, or Slurm jobs."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rmjax.errors import InputError

MEMORY = 2 * 2**30  # bytes of memory that one run of the laptop scale needs


@dataclasses.dataclass(frozen=True)
class Job:
    """A command of a sweep. It is done when `result` exists.

    Attributes:
        name: the name in messages and in `depends_on`.
        command: program and arguments.
        result: the file that the command writes last.
        log: the file for its output.
        depends_on: the names of the jobs that must be done before it starts.
    """

    name: str
    command: tuple[str, ...]
    result: Path
    log: Path
    depends_on: tuple[str, ...]

    @property
    def done(self) -> bool:
        """True if the command has finished."""
        return self.result.is_file()


class Slot(NamedTuple):
    """Resources of one local run: its environment variables and its CPU cores (empty: all)."""

    environment: dict[str, str]
    cores: list[int]


class Launcher(Protocol):
    """Interface that starts jobs and reports which of them have ended."""

    def start(self, job: Job) -> bool:
        """Starts a job and returns True; returns False if no slot is free."""

    def ended(self) -> list[Job]:
        """The jobs that have ended since the last call."""

    def stop(self) -> None:
        """Tells all running jobs to save and end, and waits for them."""


class Local:
    """Processes on this machine, one in each slot (see `slots`).

    Args:
        parallel: the number of slots; 0 for as many as fit.
    """

    def __init__(self, parallel: int) -> None:
        if parallel < 0:
            raise InputError(f"--parallel must not be negative, found {parallel}")
        self._free = slots(parallel)
        self._running: dict[subprocess.Popen, tuple[Job, Slot]] = {}

    def start(self, job: Job) -> bool:
        """Starts a job in a free slot and returns True; returns False if none is free."""
        if not self._free:
            return False
        slot = self._free.pop(0)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("w", encoding="utf-8") as log:
            # In a separate session, Ctrl-C reaches only the sweep, which then asks its runs to save.
            process = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot.environment},
                start_new_session=True,
            )
        if slot.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, slot.cores)  # before its threads start: they inherit it
        self._running[process] = job, slot
        return True

    def ended(self) -> list[Job]:
        """The jobs whose processes have ended."""
        over = [process for process in self._running if process.poll() is not None]
        jobs = []
        for process in over:
            job, slot = self._running.pop(process)
            self._free.append(slot)
            jobs.append(job)
        return jobs

    def stop(self) -> None:
        """Sends SIGTERM, at which a run saves its state and ends, and waits."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait()


def slots(parallel: int) -> list[Slot]:
    """One slot for each run that can be active at the same time.

    On GPUs there is one slot per GPU. On a CPU there are as many as cores and memory allow, and each has its share of
    the cores: XLA computes small models mostly on one core, so that two runs on one core each are faster than one run
    on both. On a TPU there is one, since one process takes the whole TPU.

    Args:
        parallel: the number of slots; 0 for the default above.
    """
    gpus = visible_gpus()
    if gpus:
        count = parallel or len(gpus)
        return [Slot({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}, []) for number in range(count)]
    if any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*")):
        return [Slot({}, [])] * (parallel or 1)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    count = parallel or max(1, min(len(cores), available_memory() // MEMORY))
    share = max(1, len(cores) // count)
    return [
        Slot(
            {"JAX_NUM_CPU_DEVICES": str(min(4, share))},
            [cores[(number * share + i) % len(cores)] for i in range(share)],
        )
        for number in range(count)
    ]


def visible_gpus() -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names; without it, the numbers of all GPUs of this machine."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def available_memory() -> int:
    """Bytes of memory that are free for new processes; enough for one run if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return MEMORY
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), MEMORY)


class Slurm:
    """Slurm jobs, through submitit (`pip install -e ".[slurm]"`). Slurm decides how many run at the same time.

    Args:
        folder: the folder for submitit's scripts and logs.
        parameters: NAME=VALUE each, such as `slurm_partition=gpu` or `gpus_per_node=1`: the parameters of submitit's
            `AutoExecutor.update_parameters`.
        cluster: submitit's name for the executor: `slurm`, or `local` for a test without Slurm.

    Raises:
        InputError: submitit or Slurm is missing, or submitit does not accept a parameter.
    """

    def __init__(self, folder: Path, parameters: Sequence[str], cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError:
            raise InputError('--launcher=slurm needs submitit: pip install -e ".[slurm]"') from None
        self._function = submitit.helpers.CommandFunction
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._executor.update_parameters(**dict(_parameter(text) for text in parameters))
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"submitit cannot submit to {cluster} ({reason}): see --slurm") from None
        self._running: list[tuple[Any, Job]] = []

    def start(self, job: Job) -> bool:
        """Submits a job and returns True."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        # Slurm ends a job with SIGTERM, at which a run saves its state; the next call of the sweep resumes it.
        script = ("bash", "-c", 'exec "$@" > "$0" 2>&1', str(job.log), *job.command)
        self._running.append((self._executor.submit(self._function(list(script), verbose=False)), job))
        return True

    def ended(self) -> list[Job]:
        """The jobs that are neither waiting nor running any more."""
        over = [entry for entry in self._running if entry[0].done()]
        self._running = [entry for entry in self._running if entry not in over]
        return [job for _, job in over]

    def stop(self) -> None:
        """Cancels all jobs that have not ended."""
        for handle, _ in self._running:
            handle.cancel()


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--slurm={text}: write NAME=VALUE, such as slurm_partition=gpu")
    return name, int(value) if value.lstrip("-").isdigit() else value
