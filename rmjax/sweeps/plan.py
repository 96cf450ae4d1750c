"""Jobs of a sweep, from its settings."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rmjax.errors import InputError
from rmjax.sweeps.launchers import Job
from rmjax.sweeps.settings import Point, Setting, Sweep, setting_label, starts_in
from rmjax.training.run_paths import RunPaths


def required_starts(fields: Sequence[str], seed: int) -> tuple[str, ...]:
    """The names of the jobs that make the starts of these fields."""
    return tuple(f"start {name}, seed {seed}" for name in starts_in(fields))


def fill_in(fields: Sequence[str], seed: int, folders: Mapping[str, Path]) -> list[str]:
    """The fields with {seed} and the folders of the starts filled in."""
    return [field.format(seed=seed, **folders) for field in fields]


def plan(sweep: Sweep, workdir: Path, repository: Path) -> list[Job]:
    """All jobs of a sweep, seed by seed, so that a table of few seeds is ready early.

    The jobs of a seed are its starts, then its runs, then its measurements.

    Args:
        sweep: the settings of the sweep.
        workdir: the directory of the sweep.
        repository: the folder with `experiments/` and `configs/`.
    """
    jobs = []
    for seed in range(sweep.seeds):
        folders = {start.name: workdir / "starts" / f"{start.name}-seed{seed}" for start in sweep.starts}
        for start in sweep.starts:
            folder, fields = folders[start.name], fill_in(start.fields, seed, folders)
            command = run_command(repository, start.base or sweep.start_base, folder, seed, fields)
            required = required_starts(start.fields, seed)
            jobs.append(run_job(f"start {start.name}, seed {seed}", command, folder, workdir, required))
        for setting in sweep.training:
            unfilled = (*sweep.fields, *setting.fields)
            folder, fields = run_folder(workdir, setting.at, seed), fill_in(unfilled, seed, folders)
            command = run_command(repository, setting.base or sweep.base, folder, seed, fields)
            required = required_starts(unfilled, seed)
            jobs.append(run_job(run_name(setting.at, seed), command, folder, workdir, required))
        jobs += [measurement_job(setting, seed, folders, workdir, repository) for setting in sweep.measurements]
    return jobs


def measurement_job(setting: Setting, seed: int, folders: Mapping[str, Path], workdir: Path, repository: Path) -> Job:
    """The job of a setting that combines the runs of other settings with the same seed, or measures a start."""
    folder = run_folder(workdir, setting.at, seed)
    options = [f"--{option}" for option in fill_in(setting.options, seed, folders)]
    if setting.members:
        members = ",".join(str(run_folder(workdir, at, seed)) for at in setting.members)
        options = [f"--checkpoint={members}", *options]
    command = (sys.executable, str(repository / "experiments" / setting.script), *options)
    required = (*(run_name(at, seed) for at in setting.members), *required_starts(setting.options, seed))
    output = f"--output={RunPaths(folder).evaluation}"
    return run_job(run_name(setting.at, seed), (*command, output), folder, workdir, required)


def is_training(job: Job) -> bool:
    """Returns True for a job that trains, False for one that measures the runs of others."""
    return any(argument.startswith("--config=") for argument in job.command)


def check_measurement(job: Job) -> None:
    """Raises InputError if the result of a measurement is that of another command, or older than what it measures."""
    if not job.done:
        return
    stored, result = job.result.with_name("command.json"), job.result
    members = job.command[2].partition("=")[2].split(",")
    found = [path for member in members if (path := RunPaths(Path(member)).evaluation).is_file()]
    if not stored.is_file() or json.loads(stored.read_text(encoding="utf-8")) != list(job.command[2:]):
        raise InputError(f"{result.parent} holds the result of another command: delete it")
    if newer := [path for path in found if path.stat().st_mtime > result.stat().st_mtime]:
        raise InputError(f"{result} is older than {newer[0]}, which it measures: delete it")


def run_job(name: str, command: tuple[str, ...], folder: Path, workdir: Path, depends_on: tuple[str, ...]) -> Job:
    """The job of the run directory `folder`."""
    return Job(name, command, RunPaths(folder).evaluation, workdir / "logs" / f"{folder.name}.log", depends_on)


def run_command(repository: Path, config: str, folder: Path, seed: int, fields: Sequence[str]) -> tuple[str, ...]:
    """The command line of a run; its configuration says which script runs it."""
    path, colon, variant = config.partition(":")
    script = {"sft": "sft.py", "ppo": "ppo.py"}.get(Path(path).stem, "train.py")
    config = str(repository / path) + colon + variant
    if not any(field.startswith("seed=") for field in fields):
        fields = [f"seed={seed}", *fields]
    options = [f"--config.{field}" for field in fields]
    return (
        sys.executable,
        str(repository / "experiments" / script),
        f"--config={config}",
        f"--workdir={folder}",
        *options,
    )


def run_name(at: Point, seed: int) -> str:
    """The name of the job of a setting and a seed."""
    return f"{setting_label(at)}, seed {seed}"


def run_folder(workdir: Path, at: Point, seed: int) -> Path:
    """The run directory of a setting and a seed."""
    name = "-".join(re.sub(r"[^\w.]+", "_", f"{name}={value}".replace("=", "_")) for name, value in at.items())
    return workdir / "runs" / f"{name}-seed{seed}"
