"""Runs a sweep: every setting with several seeds, each a run directory of its own, then one table and its figures.

    python experiments/sweep.py --config=configs/sweeps/margin.py

What is finished is not run again, what was stopped goes on where it was, and what failed is shown as failed while the
rest goes on; the same command tries it again. Results lie in --workdir (default runs/sweeps/NAME): results.csv with a
line for every run, results.md with the table, figures/, and runs/, starts/ and logs/ behind them.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cli
from absl import flags
from launchers import Job, Launcher, Local, Slurm
from ml_collections import config_flags
from tqdm import tqdm

from rmjax.errors import InputError
from rmjax.evaluation.sweep_results import SweepResults, draw, fit_in_words
from rmjax.evaluation.sweeps import Measure, Row, caption, markdown, read_measures, show, to_csv
from rmjax.training.run import RunDirectory, write_json, write_text

HERE = Path(__file__).resolve().parent
Sweep = dict[str, Any]


def main() -> None:
    arguments = flags.FLAGS
    sweep = cli.config_dict()
    workdir = cli.workdir(Path("runs") / "sweeps")
    check_sweep(sweep)
    jobs = plan(sweep, workdir)
    for each in jobs:
        check_run(each)
    launcher: Launcher = Local(arguments.parallel)
    if arguments.launcher == "slurm":
        launcher = Slurm(workdir / "slurm", arguments.slurm)
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


def check_sweep(sweep: Sweep) -> None:
    """Raises InputError for a page that says things that do not fit each other."""
    if sweep["seeds"] < 1:
        raise InputError(f"seeds must be at least 1, found {sweep['seeds']}")
    names = [tuple(setting["at"]) for setting in sweep["settings"]]
    places = [tuple(setting["at"].values()) for setting in sweep["settings"]]
    if len(set(names)) != 1 or len(set(places)) != len(places):
        raise InputError("every setting of a sweep needs a place of its own, on the same axes as the others")
    known = {start["name"] for start in sweep["starts"]}
    runs = [setting["at"] for setting in trained(sweep)]
    for setting in sweep["settings"]:
        if wrong := [at for at in setting.get("members", ()) if at not in runs]:
            raise InputError(f"{label(setting['at'])} combines {label(wrong[0])}, which is no run of the sweep")
    for setting in trained(sweep):
        for start in starts_of(sweep, setting):
            if start not in known:
                raise InputError(f"the setting {label(setting['at'])} begins with {start!r}: known are {sorted(known)}")


def trained(sweep: Sweep) -> list[Mapping[str, Any]]:
    """The settings that are training runs; the others combine them."""
    return [setting for setting in sweep["settings"] if "members" not in setting]


def starts_of(sweep: Sweep, setting: Mapping[str, Any]) -> list[str]:
    """The starts whose folders the fields of a setting name, as {sft}; {seed} is the seed."""
    names = re.findall(r"\{(\w+)\}", " ".join((*sweep["fields"], *setting["fields"])))
    return [name for name in dict.fromkeys(names) if name != "seed"]


def plan(sweep: Sweep, workdir: Path) -> list[Job]:
    """Every job of a sweep, seed by seed, so that a table of few seeds comes first: its starts, its runs, and what
    combines these."""
    jobs = []
    for seed in range(sweep["seeds"]):
        folders = {start["name"]: workdir / "starts" / f"{start['name']}-seed{seed}" for start in sweep["starts"]}
        for start in sweep["starts"]:
            folder = folders[start["name"]]
            command = call("sft.py", sweep["start_base"], folder, seed, start["fields"])
            jobs.append(job(f"start {start['name']}, seed {seed}", command, folder, workdir))
        for setting in trained(sweep):
            fields = [field.format(seed=seed, **folders) for field in (*sweep["fields"], *setting["fields"])]
            folder = run_folder(workdir, setting["at"], seed)
            command = call("train.py", sweep["base"], folder, seed, fields)
            after = tuple(f"start {name}, seed {seed}" for name in starts_of(sweep, setting))
            jobs.append(job(f"{label(setting['at'])}, seed {seed}", command, folder, workdir, after))
        jobs += [combined(setting, seed, workdir) for setting in sweep["settings"] if "members" in setting]
    return jobs


def combined(setting: Mapping[str, Any], seed: int, workdir: Path) -> Job:
    """The job of a setting that combines the runs of other settings with the same seed."""
    folder = run_folder(workdir, setting["at"], seed)
    folder.mkdir(parents=True, exist_ok=True)
    members = ",".join(str(run_folder(workdir, at, seed)) for at in setting["members"])
    options = [f"--{option}" for option in setting["options"]]
    command = (sys.executable, str(HERE / "evaluate.py"), f"--checkpoint={members}", *options)
    after = tuple(f"{label(at)}, seed {seed}" for at in setting["members"])
    output = f"--output={folder / 'evaluation.json'}"
    return job(f"{label(setting['at'])}, seed {seed}", (*command, output), folder, workdir, after)


def check_run(job: Job) -> None:
    """Raises InputError if a run could not start, or if its directory holds one with another configuration, whose
    results would otherwise stand in the table as this one's."""
    if Path(job.command[1]).name == "evaluate.py":
        return
    values, argv = flags.FlagValues(), list(job.command[1:])
    config_flags.DEFINE_config_file(cli.CONFIG, flag_values=values, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    try:
        values(argv)
        config = values[cli.CONFIG].value.to_dict()
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{job.name} cannot be run: {' '.join(str(error).split())}") from None
    RunDirectory(job.result.parent, config)


def job(name: str, command: tuple[str, ...], folder: Path, workdir: Path, after: tuple[str, ...] = ()) -> Job:
    """The job of a run directory."""
    return Job(name, command, folder / "evaluation.json", workdir / "logs" / f"{folder.name}.log", after)


def call(script: str, page: str, folder: Path, seed: int, fields: Sequence[str]) -> tuple[str, ...]:
    """The command of a run, which a person could type too."""
    path, colon, variant = page.partition(":")
    page = str(HERE.parent / path) + colon + variant
    if not any(field.startswith("seed=") for field in fields):
        fields = [f"seed={seed}", *fields]
    options = [f"--config.{field}" for field in fields]
    return (sys.executable, str(HERE / script), f"--config={page}", f"--workdir={folder}", *options)


def label(at: Mapping[str, Any]) -> str:
    """A setting in words: `margin small, comparisons 4,000`."""
    return ", ".join(f"{name} {show(value)}" for name, value in at.items())


def run_folder(workdir: Path, at: Mapping[str, Any], seed: int) -> Path:
    """The run directory of a setting and a seed."""
    name = "-".join(re.sub(r"[^\w.]+", "_", f"{name}={value}".replace("=", "_")) for name, value in at.items())
    return workdir / "runs" / f"{name}-seed{seed}"


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
    return rows


def results(sweep: Sweep, workdir: Path, rows: Sequence[Row]) -> str:
    """Writes results.csv, results.md and the figures; the text of results.md."""
    found = SweepResults(workdir, sweep, rows)
    write_text(workdir / "results.csv", to_csv(rows, found.measures))
    text = f"# {sweep['title']}\n\n{caption(sweep['seeds'])}\n\n{markdown(rows, found.measures, sweep['compare'])}"
    if fitted := fit_in_words(found):
        text += f"\n\n{fitted}"
    draw(found, workdir / "figures")
    write_text(workdir / "results.md", text + "\n")
    return text


if __name__ == "__main__":
    cli.define_config()
    flags.DEFINE_enum("launcher", "local", ["local", "slurm"], "Processes of this machine, or jobs of Slurm.")
    flags.DEFINE_integer("parallel", 0, "Local: how many runs at a time; 0: as many as fit.")
    flags.DEFINE_multi_string("slurm", [], "Slurm: NAME=VALUE for submitit, as slurm_partition=gpu; may be repeated.")
    cli.run(main)
