"""Where the jobs of a sweep run: as processes of this machine, or as jobs of Slurm."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rmjax.errors import InputError

MEMORY = 2 * 2**30  # bytes that one run of the laptop scale is given before another is started beside it


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that is done when `result` exists.

    Attributes:
        name: what people call it.
        command: program and arguments.
        result: the file that it writes last.
        log: where its output goes.
        after: names of jobs that must be done before.
    """

    name: str
    command: tuple[str, ...]
    result: Path
    log: Path
    after: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether it went all the way through."""
        return self.result.is_file()


class Launcher(Protocol):
    """Starts jobs and knows which of them still run."""

    def start(self, job: Job) -> bool:
        """Starts a job, unless there is no room for it now."""

    def ended(self) -> list[Job]:
        """The jobs that have ended since the last question."""

    def stop(self) -> None:
        """Asks all running jobs to save and end, and waits for them."""


class Local:
    """Processes of this machine, as many at a time as fit.

    On GPUs one run on each; on a CPU as many as cores and memory allow, each with its own share of the cores: small
    models leave most of XLA's work to one core, so two runs side by side are faster than one on both. On a TPU, which
    one process takes whole, one.

    Args:
        parallel: how many at a time; 0 as said.
    """

    def __init__(self, parallel: int) -> None:
        if parallel < 0:
            raise InputError(f"--parallel must not be negative, found {parallel}")
        self._free = places(parallel)
        self._running: dict[subprocess.Popen, tuple[Job, dict[str, str], list[int]]] = {}

    def start(self, job: Job) -> bool:
        """Starts a job on a free place."""
        if not self._free:
            return False
        environment, cores = self._free.pop(0)
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("w", encoding="utf-8") as log:
            # A session of its own: Ctrl-C reaches the sweep alone, which then asks its runs to save.
            process = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, cores)  # long before its threads are there, which inherit it
        self._running[process] = job, environment, cores
        return True

    def ended(self) -> list[Job]:
        """The jobs whose processes have ended."""
        over = [process for process in self._running if process.poll() is not None]
        jobs = []
        for process in over:
            job, environment, cores = self._running.pop(process)
            self._free.append((environment, cores))
            jobs.append(job)
        return jobs

    def stop(self) -> None:
        """SIGTERM, on which a run saves where it is."""
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait()


def places(parallel: int) -> list[tuple[dict[str, str], list[int]]]:
    """For every run at a time: its environment, and its cores (empty: all)."""
    gpus = visible_gpus()
    if gpus:
        count = parallel or len(gpus)
        return [({"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]}, []) for place in range(count)]
    if any(Path("/dev").glob("accel[0-9]*")) or any(Path("/dev/vfio").glob("[0-9]*")):
        return [({}, [])] * (parallel or 1)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    count = parallel or max(1, min(len(cores), available_memory() // MEMORY))
    share = max(1, len(cores) // count)
    return [
        (
            {"JAX_NUM_CPU_DEVICES": str(min(4, share))},
            [cores[(place * share + i) % len(cores)] for i in range(share)],
        )
        for place in range(count)
    ]


def visible_gpus() -> list[str]:
    """The GPUs of this machine by number, or those that CUDA_VISIBLE_DEVICES names."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def available_memory() -> int:
    """Bytes of memory that are free for new processes; without an answer from the system, enough for one."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return MEMORY
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), MEMORY)


class Slurm:
    """Jobs of Slurm, through submitit (`pip install -e ".[slurm]"`); Slurm decides how many run at a time.

    Args:
        folder: where submitit keeps its scripts and logs.
        parameters: NAME=VALUE each, as `slurm_partition=gpu` or `gpus_per_node=1`: what submitit's
            `AutoExecutor.update_parameters` takes.
        cluster: submitit's name of where; `slurm`, or `local` to try it without one.

    Raises:
        InputError: submitit or Slurm is missing, or a parameter is not one.
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
        """Submits a job."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        # Slurm kills with SIGTERM, on which a run saves; the sweep called again then takes it up.
        script = ("bash", "-c", 'exec "$@" > "$0" 2>&1', str(job.log), *job.command)
        self._running.append((self._executor.submit(self._function(list(script), verbose=False)), job))
        return True

    def ended(self) -> list[Job]:
        """The jobs that Slurm no longer knows as waiting or running."""
        over = [entry for entry in self._running if entry[0].done()]
        self._running = [entry for entry in self._running if entry not in over]
        return [job for _, job in over]

    def stop(self) -> None:
        """Cancels what was submitted and has not ended."""
        for handle, _ in self._running:
            handle.cancel()


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--slurm={text}: write NAME=VALUE, as slurm_partition=gpu")
    return name, int(value) if value.lstrip("-").isdigit() else value
