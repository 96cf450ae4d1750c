"""Execution of the jobs of a sweep in the order of their dependencies, and collection of their results."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from rmjax.sweeps.launchers import Job, Launcher
from rmjax.sweeps.plan import run_folder, run_name
from rmjax.sweeps.rows import Row, read_measures, read_sums
from rmjax.sweeps.settings import Sweep
from rmjax.training.run_paths import RunPaths


def run_jobs(jobs: Sequence[Job], launcher: Launcher, failed: dict[str, str]) -> None:
    """Runs the jobs that are not done, each after the jobs that it depends on.

    Args:
        jobs: all jobs of the sweep.
        launcher: starts the jobs.
        failed: receives the reason for every job that fails, by the name of the job.
    """
    done = {job.name for job in jobs if job.done}
    waiting = [job for job in jobs if job.name not in done]
    running: dict[str, float] = {}  # start times, in seconds
    update_every = 0.5 if sys.stderr.isatty() else 15
    with tqdm(
        total=len(jobs), initial=len(done), desc="sweep", unit=" runs", mininterval=update_every, dynamic_ncols=True
    ) as bar:
        try:
            while waiting or running:
                for job in list(waiting):
                    if broken := [name for name in job.depends_on if name in failed]:
                        failed[job.name] = f"{broken[0]} failed"
                        waiting.remove(job)
                        bar.update()
                    elif done.issuperset(job.depends_on) and launcher.start(job):
                        running[job.name] = time.monotonic()
                        waiting.remove(job)
                for job in launcher.ended():
                    seconds = time.monotonic() - running.pop(job.name)
                    if job.done:
                        done.add(job.name)
                        bar.write(f"{job.name}: done in {seconds:.0f} s")
                    else:
                        failed[job.name] = failure_reason(job)
                        bar.write(f"{job.name}: FAILED after {seconds:.0f} s: {failed[job.name]} ({job.log})")
                    bar.update()
                bar.set_postfix_str("; ".join(running), refresh=False)
                time.sleep(0.2)
        except BaseException:
            bar.write(f"stopping {len(running)} runs, which save their state; the same command resumes the sweep")
            launcher.stop()
            raise


def failure_reason(job: Job) -> str:
    """The last error message in the log of a job; without one, the last line."""
    lines = [line.strip() for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it wrote nothing"])[-1].removeprefix("error: ")


def collect(sweep: Sweep, workdir: Path, failed: Mapping[str, str]) -> list[Row]:
    """The measures of all runs of a sweep, in the order of its settings.

    Prints a warning for a measure that no finished run has.
    """
    measures = sweep.measures
    rows = []
    for setting in sweep.settings:
        for seed in range(sweep.seeds):
            folder = run_folder(workdir, setting.at, seed)
            error = failed.get(run_name(setting.at, seed), "")
            finished = RunPaths(folder).finished
            values = read_measures(folder, measures) if finished else {m.title: None for m in measures}
            status = "finished" if finished else "failed" if error else "missing"
            sums = read_sums(folder, measures)
            rows.append(Row(setting.at, seed, status, values, error, str(folder.relative_to(workdir)), sums))
    finished_rows = [row for row in rows if row.status == "finished"]
    for measure in measures:
        if finished_rows and all(row.values[measure.title] is None for row in finished_rows):
            print(f"warning: no finished run has {measure.path}, the measure {measure.title!r}", file=sys.stderr)
    return rows
