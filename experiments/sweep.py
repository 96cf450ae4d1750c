"""Training runs of a sweep, every setting with several seeds; then one table and its figures.

    python experiments/sweep.py --config=configs/sweeps/margin.py

Before the first run it prints the smallest difference in accuracy that the sweep can detect; with `--plan` it prints
only this. Every run has a separate directory. If a run fails, the others go on. The same command, called again, resumes
interrupted runs, repeats failed ones and skips finished ones. Results are in --workdir (default runs/sweeps/NAME):
results.csv with a line for every run, results.md with the table, figures/, and the runs themselves in runs/, starts/
and logs/.
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
    from rmjax.sweeps.rows import Row
    from rmjax.sweeps.settings import Sweep


def main() -> None:
    from rmjax.sweeps.launchers import Launcher, Local, Slurm
    from rmjax.sweeps.plan import plan
    from rmjax.sweeps.power import plan_in_words
    from rmjax.sweeps.run import collect, run_jobs
    from rmjax.sweeps.settings import parse_sweep
    from rmjax.training.run import write_json

    arguments = flags.FLAGS
    slurm = arguments.launcher == "slurm"
    if (arguments.parallel and slurm) or (arguments.slurm and not slurm):
        raise InputError("--parallel belongs to --launcher=local, --slurm to --launcher=slurm")
    config = training_flags.config_dict()
    sweep = parse_sweep(config)
    workdir = training_flags.workdir(Path("runs") / "sweeps")
    jobs = plan(sweep, workdir, runtime.repository())
    print(plan_in_words(sweep, len(jobs)), end="\n\n")
    if arguments.plan:
        return
    for job in jobs:
        check_run(job)
    for job in jobs:
        if Path(job.command[1]).name == "evaluate.py":  # a training run creates its directory itself
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
        text = results(sweep, workdir, collect(sweep, workdir, failed))
    print(f"\n{text}\n\nEverything is in {workdir}: results.csv, results.md, figures/, runs/.")
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} runs failed; the same command tries them again")


def check_run(job: Job) -> None:
    """Raises InputError if a run cannot start, or if its directory holds a run with another configuration.

    The table would show the results of that other run.
    """
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
    """Writes results.csv, results.md and the figures; returns the text of results.md."""
    from rmjax.evaluation.text_table import markdown_table
    from rmjax.report.sweep_figures import draw
    from rmjax.sweeps.power import power_in_words
    from rmjax.sweeps.results import SweepResults, fit_in_words, measured_in_words
    from rmjax.sweeps.rows import to_csv
    from rmjax.training.run import write_text

    found = SweepResults(workdir, sweep, rows)
    write_text(workdir / "results.csv", to_csv(rows, found.measures))
    parts = [f"# {sweep.title}", found.caption, markdown_table(found.table)]
    parts += [markdown_table(found.differences)] if found.differences[1:] else []
    text = "\n\n".join([*parts, *filter(None, [fit_in_words(found), measured_in_words(found), power_in_words(sweep)])])
    draw(found, workdir / "figures")
    write_text(workdir / "results.md", text + "\n")
    return text


if __name__ == "__main__":
    runtime.prepare_process()
    training_flags.define()
    flags.DEFINE_bool("plan", False, "Print the runs and the smallest detectable difference, and run nothing.")
    flags.DEFINE_enum("launcher", "local", ["local", "slurm"], "Processes on this machine, or Slurm jobs.")
    flags.DEFINE_integer("parallel", 0, "Local: the number of runs at the same time; 0: as many as fit.")
    flags.DEFINE_multi_string("slurm", [], "Slurm: NAME=VALUE for submitit, such as slurm_partition=gpu; repeatable.")
    script.run(main)
