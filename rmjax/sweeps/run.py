"""Runs the jobs of a sweep in the order of their dependencies, and collects what they measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from rmjax.sweeps.launchers import Job, Launcher
from rmjax.sweeps.plan import Sweep, label, run_folder
from rmjax.sweeps.rows import Measure, Row, read_measures


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
