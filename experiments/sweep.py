"""Runs a sweep: every setting with several seeds, each a run directory of its own, then one table and its figures.

    python experiments/sweep.py --config=configs/sweeps/margin.py

What is finished is not run again, what was stopped goes on where it was, and what failed is shown as failed while the
rest goes on; the same command tries it again. Results lie in --workdir (default runs/sweeps/NAME): results.csv with a
line for every run, results.md with the table, figures/, and runs/, starts/ and logs/ behind them.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from rmjax.cli import runtime, script, training_flags
from rmjax.errors import InputError

if TYPE_CHECKING:
    from rmjax.sweeps.launchers import Job
    from rmjax.sweeps.plan import Sweep
    from rmjax.sweeps.rows import Row


def main() -> None:
    from rmjax.sweeps.launchers import Launcher, Local, Slurm
    from rmjax.sweeps.plan import check_sweep, plan
    from rmjax.sweeps.run import collect, run_jobs
    from rmjax.training.run import write_json

    arguments = flags.FLAGS
    slurm = arguments.launcher == "slurm"
    if (arguments.parallel and slurm) or (arguments.slurm and not slurm):
        raise InputError("--parallel belongs to --launcher=local, --slurm to --launcher=slurm")
    sweep = training_flags.config_dict()
    workdir = training_flags.workdir(Path("runs") / "sweeps")
    check_sweep(sweep)
    jobs = plan(sweep, workdir, runtime.repository())
    for each in jobs:
        check_run(each)
    for each in jobs:
        if Path(each.command[1]).name == "evaluate.py":  # a run makes its own directory, with its configuration
            each.result.parent.mkdir(parents=True, exist_ok=True)
            write_json(each.result.with_name("command.json"), each.command[2:])
    launcher: Launcher = Slurm(workdir / "slurm", arguments.slurm) if slurm else Local(arguments.parallel)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "sweep.json", sweep)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed: dict[str, str] = {}
    try:
        run_jobs(jobs, launcher, failed)
    finally:  # also where it is stopped: what there is can be looked at
        text = results(sweep, workdir, collect(sweep, workdir, failed))
    print(f"\n{text}\n\nEverything is in {workdir}: results.csv, results.md, figures/, runs/.")
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} runs failed; the same command tries them again")


def check_run(job: Job) -> None:
    """Raises InputError if a run could not start, or if its directory holds one with another configuration, whose
    results would otherwise stand in the table as this one's."""
    from rmjax.sweeps.plan import check_combination
    from rmjax.training.run import RunDirectory

    if Path(job.command[1]).name == "evaluate.py":
        check_combination(job)
        return
    try:
        config = training_flags.config_of(job.command[1:])
    except InputError as error:
        raise InputError(f"{job.name} cannot be run: {error}") from None
    RunDirectory(job.result.parent, config)


def results(sweep: Sweep, workdir: Path, rows: Sequence[Row]) -> str:
    """Writes results.csv, results.md and the figures; the text of results.md."""
    from rmjax.evaluation.text_table import markdown_table
    from rmjax.report.sweep_figures import draw
    from rmjax.sweeps.results import SweepResults, fit_in_words
    from rmjax.sweeps.rows import to_csv
    from rmjax.training.run import write_text

    found = SweepResults(workdir, sweep, rows)
    write_text(workdir / "results.csv", to_csv(rows, found.measures))
    parts = [f"# {sweep['title']}", found.caption, markdown_table(found.table)]
    parts += [markdown_table(found.differences)] if found.differences[1:] else []
    text = "\n\n".join([*parts, *filter(None, [fit_in_words(found)])])
    draw(found, workdir / "figures")
    write_text(workdir / "results.md", text + "\n")
    return text


if __name__ == "__main__":
    runtime.prepare_process()
    training_flags.define()
    flags.DEFINE_enum("launcher", "local", ["local", "slurm"], "Processes of this machine, or jobs of Slurm.")
    flags.DEFINE_integer("parallel", 0, "Local: how many runs at a time; 0: as many as fit.")
    flags.DEFINE_multi_string("slurm", [], "Slurm: NAME=VALUE for submitit, as slurm_partition=gpu; may be repeated.")
    script.run(main)
