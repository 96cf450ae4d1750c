"""A page of configs/sweeps -> the jobs that it asks for, checked before any of them begins."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rmjax.errors import InputError
from rmjax.sweeps.launchers import Job
from rmjax.sweeps.rows import show

Sweep = dict[str, Any]


def check_sweep(sweep: Sweep) -> None:
    """Raises InputError for a page that says things that do not fit each other."""
    if sweep["seeds"] < 1:
        raise InputError(f"seeds must be at least 1, found {sweep['seeds']}")
    names = [tuple(setting["at"]) for setting in sweep["settings"]]
    places = [tuple(setting["at"].values()) for setting in sweep["settings"]]
    if len(set(names)) != 1 or len(set(places)) != len(places):
        raise InputError("every setting of a sweep needs a place of its own, on the same axes as the others")
    axis = sweep["compare"]
    if axis not in names[0]:
        raise InputError(f"settings cannot be compared along {axis!r}: the axes of the sweep are {list(names[0])}")
    values = [setting["at"][axis] for setting in sweep["settings"]]
    if wrong := [value for pair in sweep["against"] for value in pair if value not in values]:
        raise InputError(f"against names {wrong[0]!r}, which no setting has as its {axis}")
    known = {start["name"] for start in sweep["starts"]}
    runs = [setting["at"] for setting in trained(sweep)]
    for setting in sweep["settings"]:
        if wrong := [at for at in setting.get("members", ()) if at not in runs]:
            raise InputError(f"{label(setting['at'])} combines {label(wrong[0])}, which is no run of the sweep")
    for setting in trained(sweep):
        for start in starts_in((*sweep["fields"], *setting["fields"])):
            if start not in known:
                raise InputError(f"the setting {label(setting['at'])} begins with {start!r}: known are {sorted(known)}")
    for number, start in enumerate(sweep["starts"]):
        earlier = {other["name"] for other in sweep["starts"][:number]}
        if wrong := [name for name in starts_in(start["fields"]) if name not in earlier]:
            raise InputError(f"the start {start['name']!r} follows {wrong[0]!r}, which does not stand before it")


def trained(sweep: Sweep) -> list[Mapping[str, Any]]:
    """The settings that are training runs; the others combine them."""
    return [setting for setting in sweep["settings"] if "members" not in setting]


def starts_in(fields: Sequence[str]) -> list[str]:
    """The starts whose folders the fields name, as {sft}; {seed} is the seed."""
    names = re.findall(r"\{(\w+)\}", " ".join(fields))
    return [name for name in dict.fromkeys(names) if name != "seed"]


def after_starts(fields: Sequence[str], seed: int) -> tuple[str, ...]:
    """The names of the jobs that fields wait for."""
    return tuple(f"start {name}, seed {seed}" for name in starts_in(fields))


def filled(fields: Sequence[str], seed: int, folders: Mapping[str, Path]) -> list[str]:
    """The fields with the folders of starts, and the seed, in their places."""
    return [field.format(seed=seed, **folders) for field in fields]


def plan(sweep: Sweep, workdir: Path, repository: Path) -> list[Job]:
    """Every job of a sweep, seed by seed, so that a table of few seeds comes first: its starts, its runs, and what
    combines these.

    Args:
        sweep: the page.
        workdir: the directory of the sweep.
        repository: the folder with `experiments/` and `configs/`.
    """
    jobs = []
    for seed in range(sweep["seeds"]):
        folders = {start["name"]: workdir / "starts" / f"{start['name']}-seed{seed}" for start in sweep["starts"]}
        for start in sweep["starts"]:
            folder, fields = folders[start["name"]], filled(start["fields"], seed, folders)
            command = call(repository, "sft.py", sweep["start_base"], folder, seed, fields)
            after = after_starts(start["fields"], seed)
            jobs.append(job(f"start {start['name']}, seed {seed}", command, folder, workdir, after))
        for setting in trained(sweep):
            fields = filled((*sweep["fields"], *setting["fields"]), seed, folders)
            folder = run_folder(workdir, setting["at"], seed)
            command = call(repository, "train.py", sweep["base"], folder, seed, fields)
            after = after_starts((*sweep["fields"], *setting["fields"]), seed)
            jobs.append(job(f"{label(setting['at'])}, seed {seed}", command, folder, workdir, after))
        jobs += [combined(setting, seed, workdir, repository) for setting in sweep["settings"] if "members" in setting]
    return jobs


def combined(setting: Mapping[str, Any], seed: int, workdir: Path, repository: Path) -> Job:
    """The job of a setting that combines the runs of other settings with the same seed."""
    folder = run_folder(workdir, setting["at"], seed)
    members = ",".join(str(run_folder(workdir, at, seed)) for at in setting["members"])
    options = [f"--{option}" for option in setting["options"]]
    command = (sys.executable, str(repository / "experiments" / "evaluate.py"), f"--checkpoint={members}", *options)
    after = tuple(f"{label(at)}, seed {seed}" for at in setting["members"])
    output = f"--output={folder / 'evaluation.json'}"
    return job(f"{label(setting['at'])}, seed {seed}", (*command, output), folder, workdir, after)


def check_combination(job: Job) -> None:
    """Raises InputError if the result of a combination is that of another command, or older than a member."""
    if not job.done:
        return
    stored, result = job.result.with_name("command.json"), job.result
    members = job.command[2].partition("=")[2].split(",")
    found = [path for member in members if (path := Path(member) / "evaluation.json").is_file()]
    if not stored.is_file() or json.loads(stored.read_text(encoding="utf-8")) != list(job.command[2:]):
        raise InputError(f"{result.parent} holds the result of another combination: delete it")
    if newer := [path for path in found if path.stat().st_mtime > result.stat().st_mtime]:
        raise InputError(f"{result} is older than {newer[0]}, which it combines: delete it")


def job(name: str, command: tuple[str, ...], folder: Path, workdir: Path, after: tuple[str, ...] = ()) -> Job:
    """The job of a run directory."""
    return Job(name, command, folder / "evaluation.json", workdir / "logs" / f"{folder.name}.log", after)


def call(repository: Path, script: str, page: str, folder: Path, seed: int, fields: Sequence[str]) -> tuple[str, ...]:
    """The command of a run, which a person could type too."""
    path, colon, variant = page.partition(":")
    page = str(repository / path) + colon + variant
    if not any(field.startswith("seed=") for field in fields):
        fields = [f"seed={seed}", *fields]
    options = [f"--config.{field}" for field in fields]
    return (
        sys.executable,
        str(repository / "experiments" / script),
        f"--config={page}",
        f"--workdir={folder}",
        *options,
    )


def label(at: Mapping[str, Any]) -> str:
    """A setting in words: `margin small, comparisons 4,000`."""
    return ", ".join(f"{name} {show(value)}" for name, value in at.items())


def run_folder(workdir: Path, at: Mapping[str, Any], seed: int) -> Path:
    """The run directory of a setting and a seed."""
    name = "-".join(re.sub(r"[^\w.]+", "_", f"{name}={value}".replace("=", "_")) for name, value in at.items())
    return workdir / "runs" / f"{name}-seed{seed}"
