"""Body of the scripts that run a sweep: flags, plan, checks, runs, and what is written at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from rmjax.cli import runtime, training_flags
from rmjax.errors import InputError

if TYPE_CHECKING:
    from rmjax.sweeps.launchers import Job
    from rmjax.sweeps.results import SweepResults
    from rmjax.sweeps.rows import Row
    from rmjax.sweeps.settings import Sweep


def define() -> None:
    """Defines the flags."""
    training_flags.define()
    flags.DEFINE_bool("plan", False, "Print the runs and the smallest detectable difference, and run nothing.")
    flags.DEFINE_enum("launcher", "local", ["local", "slurm"], "Processes on this machine, or Slurm jobs.")
    flags.DEFINE_integer("parallel", 0, "Local: the number of runs at the same time; 0: as many as fit.")
    flags.DEFINE_multi_string("slurm", [], "Slurm: NAME=VALUE for submitit, such as slurm_partition=gpu; repeatable.")


def run_sweep(
    folder: Path,
    *,
    before_table: Callable[[Path], None] = lambda run: None,
    conclude: Callable[[SweepResults], str] = lambda results: "",
) -> None:
    """Runs the sweep of --config, and writes its table and figures.

    Args:
        folder: the folder of the default of --workdir.
        before_table: called with the directory of every finished run, before its measures are read.
        conclude: called with the results; draws further figures and returns text that follows the tables.
    """
    from rmjax.sweeps.launchers import Launcher, Local, Slurm
    from rmjax.sweeps.plan import is_training, plan
    from rmjax.sweeps.power import plan_in_words
    from rmjax.sweeps.run import run_jobs
    from rmjax.sweeps.settings import parse_sweep
    from rmjax.training.run import write_json

    arguments = flags.FLAGS
    slurm = arguments.launcher == "slurm"
    if (arguments.parallel and slurm) or (arguments.slurm and not slurm):
        raise InputError("--parallel belongs to --launcher=local, --slurm to --launcher=slurm")
    config = training_flags.config_dict()
    sweep = parse_sweep(config)
    workdir = training_flags.workdir(folder)
    jobs = plan(sweep, workdir, runtime.repository())
    print(plan_in_words(sweep, len(jobs)), end="\n\n")
    if arguments.plan:
        return
    for job in jobs:
        check_run(job)
    for job in jobs:
        if not is_training(job):  # a training run creates its directory itself
            job.result.parent.mkdir(parents=True, exist_ok=True)
            write_json(job.result.with_name("command.json"), job.command[2:])
    launcher: Launcher = Slurm(workdir / "slurm", arguments.slurm) if slurm else Local(arguments.parallel)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "sweep.json", config)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed: dict[str, str] = {}
    try:
        run_jobs(jobs, launcher, failed)
    finally:  # also if the sweep is stopped: writes the results so far
        text = _results(sweep, workdir, failed, before_table, conclude)
    print(f"\n{text}\n\nEverything is in {workdir}: results.csv, results.md, figures/, runs/.")
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} runs failed; the same command tries them again")


def check_run(job: Job) -> None:
    """Raises InputError if a run cannot start, or if its directory holds a run with another configuration.

    The table would show the results of that other run.
    """
    from rmjax.sweeps.plan import check_measurement, is_training
    from rmjax.training.run import RunDirectory

    if not is_training(job):
        check_measurement(job)
        return
    try:
        config = training_flags.config_of(job.command[1:])
    except InputError as error:
        raise InputError(f"{job.name} cannot be run: {error}") from None
    RunDirectory(job.result.parent, config)


def _results(
    sweep: Sweep,
    workdir: Path,
    failed: dict[str, str],
    before_table: Callable[[Path], None],
    conclude: Callable[[SweepResults], str],
) -> str:
    """Writes results.csv, results.md and the figures; returns the text of results.md."""
    from rmjax.evaluation.text_table import markdown_table
    from rmjax.report.sweep_figures import draw
    from rmjax.sweeps.claims import claim_table
    from rmjax.sweeps.plan import run_folder
    from rmjax.sweeps.power import power_in_words
    from rmjax.sweeps.results import SweepResults, fit_in_words, measured_in_words
    from rmjax.sweeps.rows import to_csv
    from rmjax.sweeps.run import collect
    from rmjax.training.run import write_text
    from rmjax.training.run_paths import RunPaths

    for setting in sweep.settings:
        for seed in range(sweep.seeds):
            run = run_folder(workdir, setting.at, seed)
            if RunPaths(run).finished:
                before_table(run)
    rows: Sequence[Row] = collect(sweep, workdir, failed)
    found = SweepResults(workdir, sweep, rows)
    write_text(workdir / "results.csv", to_csv(rows, found.measures))
    parts = [f"# {sweep.title}", found.caption, markdown_table(found.table)]
    parts += [markdown_table(lines) for lines in (found.differences, claim_table(found)) if lines[1:]]
    notes = [fit_in_words(found), measured_in_words(found), power_in_words(sweep), conclude(found)]
    text = "\n\n".join([*parts, *filter(None, notes)])
    draw(found, workdir / "figures")
    write_text(workdir / "results.md", text + "\n")
    return text
