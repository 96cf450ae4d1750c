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
from rmjax.training.run import RunPaths


def required_starts(fields: Sequence[str], seed: int) -> tuple[str, ...]:
    """The names of the jobs that make the starts of these fields."""
    return tuple(f"start {name}, seed {seed}" for name in starts_in(fields))


def fill_in(fields: Sequence[str], seed: int, folders: Mapping[str, Path]) -> list[str]:
    """The fields with {seed} and the folders of the starts filled in."""
    return [field.format(seed=seed, **folders) for field in fields]


def plan(sweep: Sweep, workdir: Path, repository: Path) -> list[Job]:
    """All jobs of a sweep, seed by seed, so that a table of few seeds is ready early.

    The jobs of a seed are its starts, then its runs, then the combinations of these.

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
            command = run_command(repository, "sft.py", sweep.start_base, folder, seed, fields)
            required = required_starts(start.fields, seed)
            jobs.append(run_job(f"start {start.name}, seed {seed}", command, folder, workdir, required))
        for setting in sweep.training:
            unfilled = (*sweep.fields, *setting.fields)
            folder, fields = run_folder(workdir, setting.at, seed), fill_in(unfilled, seed, folders)
            command = run_command(repository, "train.py", sweep.base, folder, seed, fields)
            required = required_starts(unfilled, seed)
            jobs.append(run_job(run_name(setting.at, seed), command, folder, workdir, required))
        jobs += [combination_job(setting, seed, workdir, repository) for setting in sweep.combinations]
    return jobs


def combination_job(setting: Setting, seed: int, workdir: Path, repository: Path) -> Job:
    """The job of a setting that combines the runs of other settings with the same seed."""
    folder = run_folder(workdir, setting.at, seed)
    members = ",".join(str(run_folder(workdir, at, seed)) for at in setting.members)
    options = [f"--{option}" for option in setting.options]
    command = (sys.executable, str(repository / "experiments" / "evaluate.py"), f"--checkpoint={members}", *options)
    required = tuple(run_name(at, seed) for at in setting.members)
    output = f"--output={RunPaths(folder).evaluation}"
    return run_job(run_name(setting.at, seed), (*command, output), folder, workdir, required)


def check_combination(job: Job) -> None:
    """Raises InputError if the result of a combination is that of another command, or older than a member."""
    if not job.done:
        return
    stored, result = job.result.with_name("command.json"), job.result
    members = job.command[2].partition("=")[2].split(",")
    found = [path for member in members if (path := RunPaths(Path(member)).evaluation).is_file()]
    if not stored.is_file() or json.loads(stored.read_text(encoding="utf-8")) != list(job.command[2:]):
        raise InputError(f"{result.parent} holds the result of another combination: delete it")
    if newer := [path for path in found if path.stat().st_mtime > result.stat().st_mtime]:
        raise InputError(f"{result} is older than {newer[0]}, which it combines: delete it")


def run_job(name: str, command: tuple[str, ...], folder: Path, workdir: Path, depends_on: tuple[str, ...]) -> Job:
    """The job of the run directory `folder`."""
    return Job(name, command, RunPaths(folder).evaluation, workdir / "logs" / f"{folder.name}.log", depends_on)


def run_command(
    repository: Path, script: str, config: str, folder: Path, seed: int, fields: Sequence[str]
) -> tuple[str, ...]:
    """The command line of a run."""
    path, colon, variant = config.partition(":")
    config = str(repository / path) + colon + variant
    if not any(field.startswith("seed=") for field in fields):
        fields = [f"seed={seed}", *fields]
    options = [f"--config.{field}" for field in fields]
    script = str(repository / "experiments" / script)
    return sys.executable, script, f"--config={config}", f"--workdir={folder}", *options


def run_name(at: Point, seed: int) -> str:
    """The name of the job of a setting and a seed."""
    return f"{setting_label(at)}, seed {seed}"


def run_folder(workdir: Path, at: Point, seed: int) -> Path:
    """The run directory of a setting and a seed."""
    name = "-".join(re.sub(r"[^\w.]+", "_", f"{name}={value}".replace("=", "_")) for name, value in at.items())
    return workdir / "runs" / f"{name}-seed{seed}"
