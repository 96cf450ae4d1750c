"""Tests of sweeps: dependencies, failures, resuming, launchers, and all configurations in configs/sweeps."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from configs import helpful, overoptimisation, ppo, sft
from configs.sweeps import page
from rmjax.cli import sweep_script as script
from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation.power import smallest_effect
from rmjax.sweeps import launchers
from rmjax.sweeps import plan as sweep_plan
from rmjax.sweeps import run as sweep_run
from rmjax.sweeps.launchers import Job, Local, Slurm, slots
from rmjax.sweeps.power import power_in_words
from rmjax.sweeps.rows import Measure, read_measures, read_sums
from rmjax.sweeps.settings import parse_sweep

ROOT = Path(__file__).resolve().parent.parent.parent
SWEEPS = sorted(path.stem for path in (ROOT / "configs" / "sweeps").glob("*.py") if path.stem != "page")


STUDIES = {
    "judges": "",
    "mitigations": "mitigations",
    "objectives": "objectives",
}  # variants of configs/overoptimisation.py


def configuration(name):
    if name in STUDIES:
        return overoptimisation.get_config(STUDIES[name]).to_dict()
    return importlib.import_module(f"configs.sweeps.{name}").get_config().to_dict()


def flat(config, prefix=""):
    return {
        name
        for key, value in config.items()
        for name in (flat(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [f"{prefix}{key}"])
    }


@pytest.mark.parametrize("name", [*SWEEPS, *STUDIES])
def test_every_sweep_changes_only_existing_fields(name, tmp_path):
    sweep = configuration(name)
    parse_sweep(sweep)
    configs = {"train.py": helpful, "sft.py": sft, "ppo.py": ppo}
    known = {name: flat(config.get_config()) for name, config in configs.items()}
    jobs = sweep_plan.plan(parse_sweep(sweep), tmp_path, ROOT)
    names = {job.name for job in jobs}
    assert len(names) == len({job.result for job in jobs}) == len({job.log for job in jobs}) == len(jobs)
    for job in jobs:
        assert names.issuperset(job.depends_on)
        if not sweep_plan.is_training(job):
            assert Path(job.command[1]).is_file()
            assert "{" not in " ".join(job.command)
            continue
        options = [option.removeprefix("--config.") for option in job.command if option.startswith("--config.")]
        changed = [option.partition("=")[0] for option in options]
        assert set(changed) <= known[Path(job.command[1]).name]
        assert "{" not in " ".join(job.command)
    titles = {measure[0] for measure in sweep["measures"]}
    axes = set(sweep["settings"][0]["at"])
    for _, kind, *what in sweep["figures"]:
        assert set(what if kind == "points" else what[:1]) <= titles
    assert {*sweep["fit"], *sweep["power_law"]} <= titles | axes


def test_the_assumed_test_set_is_that_of_the_corpus():
    """The default number of prompts, for pages that evaluate on all of gold/helpful."""
    prompts = {comparison.prompt for comparison in load_comparisons("gold/helpful", "test")}
    assert page.ASSUMED["prompts"] == len(prompts)


def test_every_page_states_the_smallest_effect_that_it_can_detect():
    for name in SWEEPS:
        text = power_in_words(parse_sweep(configuration(name)))
        assert text.startswith("Smallest detectable difference in accuracy: ")


def test_the_smallest_effect_is_that_of_the_assumptions_and_seeds():
    sweep = {**configuration("margin"), "assumed": {"seed_sd": 0.005, "prompts": 1500, "prompt_sd": 0.2}}
    effect = smallest_effect(seeds=5, seed_sd=0.005, prompts=1500, prompt_sd=0.2)
    text = power_in_words(parse_sweep({**sweep, "seeds": 5}))
    assert f"{100 * effect:.1f} points, with 80 % power" in text
    assert "5 paired seeds on 1,500 prompts" in text
    assert "of 0.5 points over seeds and of 20.0 points over prompts" in text
    assert "needs at least two" in power_in_words(parse_sweep({**sweep, "seeds": 1}))
    del sweep["assumed"]
    assert power_in_words(parse_sweep(sweep)) == ""


def test_a_plan_is_printed_and_nothing_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script.training_flags, "config_dict", lambda: configuration("margin"))
    monkeypatch.setattr(script.training_flags, "workdir", lambda folder: tmp_path / "out")
    monkeypatch.setattr(script.flags, "FLAGS", SimpleNamespace(launcher="local", parallel=1, slurm=[], plan=True))
    script.run_sweep(Path("runs"))
    printed = capsys.readouterr().out
    assert "3 settings with 8 seeds, 32 runs with their starts and measurements, 2 comparisons along margin." in printed
    assert "Smallest detectable difference in accuracy: " in printed
    assert not (tmp_path / "out").exists()


def test_an_undefined_start_is_an_error():
    sweep = configuration("margin")
    sweep["fields"] = (*sweep["fields"], "tokenizer.path={other}")
    with pytest.raises(InputError, match="begins with 'other': known are \\['sft'\\]"):
        parse_sweep(sweep)


def test_an_unknown_axis_or_value_to_compare_is_an_error():
    with pytest.raises(InputError, match="along 'margins': the axes of the sweep are \\['margin'\\]"):
        parse_sweep({**configuration("margin"), "compare": "margins"})
    with pytest.raises(InputError, match="names 'non', which no setting has as its margin"):
        parse_sweep({**configuration("margin"), "against": (("small", "non"),)})


def test_two_settings_with_the_same_values_are_an_error():
    sweep = configuration("margin")
    sweep["settings"] += sweep["settings"][:1]
    with pytest.raises(InputError, match="no two the same values on them"):
        parse_sweep(sweep)


def test_a_combination_of_a_setting_without_a_run_is_an_error():
    sweep = configuration("ensemble")
    sweep["settings"], sweep["against"] = sweep["settings"][1:], ()
    with pytest.raises(InputError, match="combines judge member 1, which is not a run"):
        parse_sweep(sweep)


def test_combinations_wait_for_their_members_of_the_same_seed(tmp_path):
    sweep = {**configuration("ensemble"), "seeds": 3}
    jobs = {job.name: job for job in sweep_plan.plan(parse_sweep(sweep), tmp_path, ROOT)}
    mean = jobs["judge mean, seed 2"]
    assert mean.depends_on == tuple(f"judge member {number}, seed 2" for number in range(1, 6))
    folders = [str(jobs[name].result.parent) for name in mean.depends_on]
    assert f"--checkpoint={','.join(folders)}" in mean.command
    seeds = [option for job in jobs.values() for option in job.command if option.startswith("--config.seed=")]
    members = [seed for seed in seeds if len(seed.partition("=")[2]) == 2]
    # Twice: with separate initial heads, and with a shared one.
    assert sorted(members) == [
        f"--config.seed={number}{seed}" for number in range(1, 6) for seed in range(3) for _ in "12"
    ]
    heads = [option for job in jobs.values() for option in job.command if option.startswith("--config.init_seed=")]
    assert sorted(heads) == [f"--config.init_seed={seed}" for seed in range(3) for _ in range(5)]


def test_all_runs_are_checked_before_the_first_starts(tmp_path):
    """A field does not exist, or a directory holds a run with another configuration."""
    sweep = configuration("margin")
    good = sweep_plan.plan(parse_sweep(sweep), tmp_path, ROOT)
    for job in good:
        script.check_run(job)
    sweep["fields"] = (*sweep["fields"], "loss.margins=small")
    with pytest.raises(InputError, match=r"margin none, seed 0 cannot be run: .*margins"):
        script.check_run(sweep_plan.plan(parse_sweep(sweep), tmp_path, ROOT)[1])
    done = next(job for job in good if job.name == "margin small, seed 1")
    done.result.parent.mkdir(parents=True)
    config = {**helpful.get_config().to_dict(), "seed": 1}
    (done.result.parent / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="holds a run with another configuration"):
        script.check_run(done)


def test_a_stopped_sweep_writes_its_results_so_far(tmp_path, monkeypatch):
    monkeypatch.setattr(script.training_flags, "config_dict", lambda: configuration("margin"))
    monkeypatch.setattr(script.training_flags, "workdir", lambda folder: tmp_path)
    monkeypatch.setattr(script, "check_run", lambda job: None)
    monkeypatch.setattr(script.flags, "FLAGS", SimpleNamespace(launcher="local", parallel=1, slurm=[], plan=False))
    monkeypatch.setattr(script.signal, "signal", lambda *_: None)

    def stopped(jobs, launcher, failed):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_run, "run_jobs", stopped)
    with pytest.raises(KeyboardInterrupt):
        script.run_sweep(Path("runs"))
    assert "0 of 8" in (tmp_path / "results.md").read_text()


def test_a_measure_that_no_run_has_gives_a_warning(tmp_path, capsys):
    """A path with a typing error gives a warning. A measure that some runs have does not."""
    for seed, top1 in ((0, 0.6), (1, None)):
        folder = sweep_plan.run_folder(tmp_path, {"margin": "none"}, seed)
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(json.dumps({"accuracy": 0.8, "rankings": {"top1": top1}}))
    measures = [["top", "rankings.top1", "%"], ["right", "acuracy", "%"]]
    sweep = parse_sweep({**configuration("margin"), "seeds": 3, "measures": measures, "claims": ()})
    assert len(sweep_run.collect(sweep, tmp_path, {})) == 3 * len(sweep.settings)
    assert capsys.readouterr().err == "warning: no finished run has acuracy, the measure 'right'\n"


def test_starts_depend_on_earlier_starts(tmp_path):
    jobs = {job.name: job for job in sweep_plan.plan(parse_sweep(configuration("mitigations")), tmp_path, ROOT)}
    judge = jobs["start judge_a, seed 1"]
    assert judge.depends_on == ("start sft, seed 1",)
    assert f"--config.init={jobs['start sft, seed 1'].result.parent}" in judge.command
    sweep = configuration("mitigations")
    sweep["starts"] = sweep["starts"][::-1]
    with pytest.raises(InputError, match="the start 'judge_16' needs 'sft', which is not defined before it"):
        parse_sweep(sweep)


def test_a_result_of_another_combination_or_of_older_members_is_an_error(tmp_path):
    job = next(
        j
        for j in sweep_plan.plan(parse_sweep(configuration("ensemble")), tmp_path, ROOT)
        if j.name == "judge mean, seed 0"
    )
    script.check_run(job)
    job.result.parent.mkdir(parents=True)
    job.result.write_text("{}")
    with pytest.raises(InputError, match="holds the result of another command"):
        script.check_run(job)
    job.result.with_name("command.json").write_text(json.dumps(job.command[2:]))
    script.check_run(job)
    member = tmp_path / "runs" / "judge_member_3-seed0" / "evaluation.json"
    member.parent.mkdir(parents=True)
    member.write_text("{}")
    os.utime(job.result, (0, 0))
    with pytest.raises(InputError, match=r"is older than .*judge_member_3-seed0"):
        script.check_run(job)


def test_a_flag_of_the_other_launcher_is_an_error(monkeypatch):
    for launcher, parallel, slurm in (("slurm", 2, []), ("local", 0, ["slurm_partition=gpu"])):
        given = SimpleNamespace(launcher=launcher, parallel=parallel, slurm=slurm)
        monkeypatch.setattr(script.flags, "FLAGS", given)
        with pytest.raises(InputError, match="--parallel belongs to --launcher=local"):
            script.run_sweep(Path("runs"))


def shell(tmp_path, name, text, depends_on=()):
    """A job that runs shell text with $0 as its result."""
    result = tmp_path / name
    return Job(name, ("bash", "-c", text, str(result)), result, tmp_path / "logs" / f"{name}.log", depends_on)


def test_jobs_wait_for_their_dependencies_and_a_failure_stops_only_dependents(tmp_path):
    jobs = [
        shell(tmp_path, "start", "sleep 0.3; date +%N > $0"),
        shell(tmp_path, "broken", "echo some noise; echo error: there is no such thing; exit 1"),
        shell(tmp_path, "silent", "exit 3"),
        shell(tmp_path, "first", f"cat {tmp_path}/start > $0", ("start",)),
        shell(tmp_path, "orphan", "touch $0", ("broken",)),
    ]
    failed, again = {}, {}
    sweep_run.run_jobs(jobs, Local(2), failed)
    assert failed == {
        "broken": "there is no such thing",
        "silent": "it wrote nothing",
        "orphan": "broken failed",
    }
    assert (tmp_path / "first").read_text() == (tmp_path / "start").read_text()
    assert not (tmp_path / "orphan").exists()
    before = (tmp_path / "start").read_text()
    sweep_run.run_jobs(jobs, Local(2), again)
    assert again == failed
    assert (tmp_path / "start").read_text() == before  # done jobs are not repeated


def test_as_many_jobs_at_the_same_time_as_slots(tmp_path):
    text = f"touch {tmp_path}/running-$$; ls {tmp_path}/running-* | wc -l > $0; sleep 0.4; rm {tmp_path}/running-$$"
    jobs = [shell(tmp_path, f"job{i}", text) for i in range(5)]
    failed = {}
    sweep_run.run_jobs(jobs, Local(2), failed)
    assert not failed
    seen = [int((tmp_path / job.name).read_text()) for job in jobs]
    assert max(seen) == 2


def test_an_interrupted_sweep_says_how_it_goes_on(tmp_path, capsys):
    stopped = []

    class Interrupted:
        def start(self, job):
            return True

        def ended(self):
            raise KeyboardInterrupt

        def stop(self):
            stopped.append(True)

    with pytest.raises(KeyboardInterrupt):
        sweep_run.run_jobs([shell(tmp_path, "long", "true")], Interrupted(), {})
    assert stopped == [True]
    said = capsys.readouterr()
    assert "stopping 1 runs, which save their state; the same command resumes the sweep" in said.out + said.err


def test_stop_lets_a_run_save_and_waits(tmp_path):
    launcher = Local(1)
    job = shell(
        tmp_path,
        "long",
        f"trap 'touch {tmp_path}/saved; exit 143' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done",
    )
    assert launcher.start(job)
    assert not launcher.start(job)  # no second slot
    until = time.monotonic() + 20
    while not (tmp_path / "up").exists() and time.monotonic() < until:
        time.sleep(0.02)
    launcher.stop()
    assert (tmp_path / "saved").exists()
    assert launcher.ended() == [job]


def test_slots_share_cores_or_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(launchers, "visible_gpus", lambda: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(launchers, "available_memory", lambda: 5 * launchers.MEMORY)
    assert [slot.cores for slot in slots(0)] == [[0], [1], [2], [3], [4]]
    assert [slot.cores for slot in slots(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert slots(2)[0].environment == {"JAX_NUM_CPU_DEVICES": "4"}
    monkeypatch.setattr(launchers, "available_memory", lambda: 0)
    assert len(slots(0)) == 1
    monkeypatch.setattr(launchers, "visible_gpus", lambda: ["2", "5"])
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(0)] == ["2", "5"]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(3)] == ["2", "5", "2"]
    with pytest.raises(InputError, match="--parallel must not be negative"):
        Local(-1)


def test_visible_gpus_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert launchers.visible_gpus() == ["1", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launchers.visible_gpus() == []


def test_slurm_jobs_run_in_order_and_report_failures(tmp_path):
    """Uses the local executor of submitit, which has the same interface as that of Slurm."""
    launcher = Slurm(tmp_path / "slurm", ["timeout_min=2"], cluster="local")
    jobs = [
        shell(tmp_path, "good", "echo some noise; touch $0"),
        shell(tmp_path, "bad", "echo error: out of memory; exit 1"),
        shell(tmp_path, "after", "touch $0", ("good",)),
    ]
    failed = {}
    sweep_run.run_jobs(jobs, launcher, failed)
    assert failed == {"bad": "out of memory"}
    assert (tmp_path / "after").exists()


def test_without_slurm_the_error_has_the_reason(tmp_path):
    with pytest.raises(InputError, match="submitit cannot submit to slurm"):
        Slurm(tmp_path, [])
    with pytest.raises(InputError, match="write NAME=VALUE"):
        Slurm(tmp_path, ["gpu"], cluster="local")
    with pytest.raises(InputError, match="submitit cannot submit to local"):
        Slurm(tmp_path, ["no_such_parameter=1"], cluster="local")


TINY = """
from configs.sweeps import page
SIZE = ("tokenizer.vocab_size=300", "model.width=8", "model.layers=1", "model.heads=2", "model.kv_heads=1",
        "model.head_dim=4", "model.mlp_width=8")
def get_config():
    return page.sweep(
        "Tiny", seeds=2, compare="margin", base="configs/helpful.py:scratch", start_base="configs/sft.py:scratch",
        starts=({"name": "sft", "fields": ("data.train=gold/text[:60]", "train.epochs=1", *SIZE)},),
        fields=("init={sft}", "data.train=gold/helpful:validation[:60]", "data.eval=gold/helpful:validation[60:80]",
                "evaluation.bootstrap=10", "evaluation.references=8", *SIZE),
        settings=page.grid(margin={"none": (), "wrong": ("loss.margin=wrong",)}),
        measures=(page.ACCURACY,), figures=(("accuracy", "points", "accuracy"),))
"""


def test_a_sweep_end_to_end(tmp_path):
    config = tmp_path / "tiny.py"
    config.write_text(TINY)
    command = [sys.executable, str(ROOT / "experiments" / "sweep.py"), f"--config={config}"]
    command += [f"--workdir={tmp_path}/out", "--config.seeds=1", "--parallel=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "error: 1 of 3 runs failed; the same command tries them again" in ended.stderr
    out = tmp_path / "out"
    assert "| none |" in (out / "results.md").read_text()
    assert "| wrong | - | 0 of 1, 1 failed |" in ended.stdout
    assert "loss.margin must be one of" in (out / "results.csv").read_text()
    assert (out / "figures" / "accuracy.png").is_file()
    run = out / "runs" / "margin_none-seed0"
    assert json.loads((run / "config.json").read_text())["init"] == f"{out}/starts/sft-seed0"
    # The run has all measures of all sweeps; labels and unsafe responses need safety data.
    paths = {measure[1] for name in SWEEPS for measure in configuration(name)["measures"]}
    measures = [Measure(path, path, "") for path in paths]
    values = read_measures(run, measures)
    assert {path.partition(".")[0] for path, value in values.items() if value is None} == {"labels", "unsafe"}
    # Means over pairs are stored prompt by prompt, and are the same values.
    sums = read_sums(run, measures)
    assert {"accuracy", "loss", "ceiling_gain", "calibration.helpful.tempered.loss"} <= sums.keys()
    for path, (sum_K, count_K, _) in sums.items():
        if values[path] is not None:  # None for a model with one head: its labels are not reported separately
            assert sum_K.sum() / count_K.sum() == pytest.approx(values[path], rel=1e-5)
    assert "needs at least two" in (out / "results.md").read_text()
