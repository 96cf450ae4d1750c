"""Runs a sweep: every setting with several seeds, each a run directory of its own, then one table and its figures.

    python experiments/sweep.py --config=configs/sweeps/margin.py

What is finished is not run again, what was stopped goes on where it was, and what failed is shown as failed while the
rest goes on; the same command tries it again. Results lie in --workdir (default runs/sweeps/NAME): results.csv with a
line for every run, results.md with the table, figures/, and runs/, starts/ and logs/ behind them.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cli
from absl import flags
from launchers import Job, Launcher, Local, Slurm
from sweep_plan import Sweep, check_run, check_sweep, label, plan, run_folder
from tqdm import tqdm

from rmjax.errors import InputError
from rmjax.evaluation.sweep_results import SweepResults, draw, fit_in_words
from rmjax.evaluation.sweeps import Measure, Row, markdown, read_measures, to_csv
from rmjax.training.run import write_json, write_text


def main() -> None:
    arguments = flags.FLAGS
    slurm = arguments.launcher == "slurm"
    if (arguments.parallel and slurm) or (arguments.slurm and not slurm):
        raise InputError("--parallel belongs to --launcher=local, --slurm to --launcher=slurm")
    sweep = cli.config_dict()
    workdir = cli.workdir(Path("runs") / "sweeps")
    check_sweep(sweep)
    jobs = plan(sweep, workdir)
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


def run_jobs(jobs: Sequence[Job], launcher: Launcher, failed: dict[str, str]) -> None:
    """Runs what is not done, what it needs first; `failed` receives why, by the name of a job that failed."""
    done = {job.name for job in jobs if job.done}
    waiting = [job for job in jobs if job.name not in done]
    running: dict[str, float] = {}
    wait = 0.5 if sys.stderr.isatty() else 15
    with tqdm(
        total=len(jobs), initial=len(done), desc="sweep", unit=" runs", mininterval=wait, dynamic_ncols=True
    ) as bar:
        try:
            while waiting or running:
                for each in list(waiting):
                    broken = [name for name in each.after if name in failed]
                    if broken:
                        failed[each.name] = f"{broken[0]} failed"
                        waiting.remove(each)
                        bar.update()
                    elif done.issuperset(each.after) and launcher.start(each):
                        running[each.name] = time.monotonic()
                        waiting.remove(each)
                for each in launcher.ended():
                    seconds = time.monotonic() - running.pop(each.name)
                    if each.done:
                        done.add(each.name)
                        bar.write(f"{each.name}: done in {seconds:.0f} s")
                    else:
                        failed[each.name] = reason(each)
                        bar.write(f"{each.name}: FAILED after {seconds:.0f} s: {failed[each.name]} ({each.log})")
                    bar.update()
                bar.set_postfix_str("; ".join(running), refresh=False)
                time.sleep(0.2)
        except BaseException:
            bar.write(f"stopping {len(running)} runs, which save where they are")
            launcher.stop()
            raise


def reason(job: Job) -> str:
    """Why a job failed: the error that it told, or the last that it said."""
    lines = [line.strip() for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1].removeprefix("error: ")


def collect(sweep: Sweep, workdir: Path, failed: Mapping[str, str]) -> list[Row]:
    """What the runs of a sweep measured, in the order of its settings."""
    measures = [Measure(*measure) for measure in sweep["measures"]]
    rows = []
    for setting in sweep["settings"]:
        for seed in range(sweep["seeds"]):
            folder = run_folder(workdir, setting["at"], seed)
            error = failed.get(f"{label(setting['at'])}, seed {seed}", "")
            finished = (folder / "evaluation.json").is_file()
            values = read_measures(folder, measures) if finished else {m.title: None for m in measures}
            status = "finished" if finished else "failed" if error else "missing"
            where = str(folder.relative_to(workdir))
            rows.append(Row(setting["at"], seed, status, values, error, where))
    finished_rows = [row for row in rows if row.status == "finished"]
    for measure in measures:
        if finished_rows and all(row.values[measure.title] is None for row in finished_rows):
            print(f"warning: no finished run has {measure.path}, the measure {measure.title!r}", file=sys.stderr)
    return rows


def results(sweep: Sweep, workdir: Path, rows: Sequence[Row]) -> str:
    """Writes results.csv, results.md and the figures; the text of results.md."""
    found = SweepResults(workdir, sweep, rows)
    write_text(workdir / "results.csv", to_csv(rows, found.measures))
    parts = [f"# {sweep['title']}", found.caption, markdown(found.table)]
    parts += [markdown(found.differences)] if found.differences[1:] else []
    text = "\n\n".join([*parts, *filter(None, [fit_in_words(found)])])
    draw(found, workdir / "figures")
    write_text(workdir / "results.md", text + "\n")
    return text


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_enum("launcher", "local", ["local", "slurm"], "Processes of this machine, or jobs of Slurm.")
    flags.DEFINE_integer("parallel", 0, "Local: how many runs at a time; 0: as many as fit.")
    flags.DEFINE_multi_string("slurm", [], "Slurm: NAME=VALUE for submitit, as slurm_partition=gpu; may be repeated.")
    cli.run(main)
