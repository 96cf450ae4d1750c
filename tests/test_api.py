"""`rmjax.train`, `rmjax.evaluate` and `rmjax.config` give what the scripts give."""

import json
import subprocess
import sys

import pytest
from scripts import ROOT, call, environment
from test_command_line import SMALL

import rmjax
from rmjax.cli import configurations
from rmjax.data.sources import load_comparisons

RUN = """
import gc, json, sys
from rmjax.cli import runtime
runtime.prepare_process()
import jax
import rmjax
config = rmjax.config("helpful:scratch")
config.update_from_flattened_dict(json.loads(sys.argv[1]))
run = rmjax.train(config)
def mappings():
    gc.collect()
    return sum(1 for _ in open("/proc/self/maps")) if sys.platform == "linux" else 0
left = mappings()
jax.clear_caches()
left -= mappings()
result = rmjax.evaluate(run.load(), config.data.eval, bootstrap=config.evaluation.bootstrap)
found = {"path": str(run.path), "kind": run.kind, "evaluation": run.evaluation, "measured": result, "left": left}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A tiny run by experiments/train.py, and by `rmjax.train` in another process: (run directory, what it printed)."""
    folder = tmp_path_factory.mktemp("runs")
    done = call("train", f"--config={ROOT}/configs/helpful.py:scratch", f"--workdir={folder}/script", *SMALL)
    assert done.returncode == 0, done.stderr
    fields = {}
    for flag in SMALL:
        name, _, value = flag.removeprefix("--config.").partition("=")
        fields[name] = value if value.startswith("gold") else json.loads(value)
    (folder / "run.py").write_text(RUN)
    started = [sys.executable, "run.py", json.dumps(fields)]
    own = {**environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(started, cwd=folder, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def rows(path):
    timed = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in timed]


def test_training_from_python_is_the_run_of_the_script(both):
    folder, found = both
    assert found["kind"] == "reward_model"
    assert found["path"].startswith("runs/reward-model-")
    script, python = folder / "script", folder / found["path"]
    assert json.loads((script / "config.json").read_text()) == json.loads((python / "config.json").read_text())
    assert rows(script) == rows(python)
    stated = json.loads((script / "evaluation.json").read_text())
    assert found["evaluation"] == stated


def test_training_leaves_no_compiled_programs(both):
    """Linux allows a process 65,530 memory mappings. Three RL runs in one notebook had more, and the kernel died."""
    assert both[1]["left"] < 20


def test_evaluation_from_python_is_that_of_the_script(both, tmp_path):
    folder, found = both
    arguments = [f"--checkpoint={folder}/script", "--data=gold/helpful[:40]", "--bootstrap=50"]
    done = call("evaluate", *arguments, f"--output={tmp_path}/e.json")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "e.json").read_text())
    assert found["measured"] == {key: value for key, value in written.items() if key in found["measured"]}
    assert written.keys() - found["measured"].keys() == {"data", "notes", "checkpoint"}
    assert found["measured"]["heads"] == found["evaluation"]["heads"]
    assert found["measured"]["accuracy_ci95"]
    by_path = rmjax.evaluate(folder / "script", "gold/helpful[:40]", bootstrap=50)
    assert by_path["accuracy"] == pytest.approx(found["measured"]["accuracy"])


def test_a_finished_run_is_not_trained_again(both, capsys):
    folder, found = both
    config = json.loads((folder / "script" / "config.json").read_text())
    run = rmjax.train(config, folder / "script")
    assert run.evaluation == found["evaluation"]
    assert "is finished" in capsys.readouterr().out
    assert "RewardModel(" in repr(run.load())
    with pytest.raises(rmjax.InputError, match="reward model"):
        run.load_language_model()


def test_comparisons_are_named_or_given_as_records_or_objects(reward_model):
    records = [
        {"prompt": f"What is {i}?", "chosen": "Yes." * (1 + i % 3), "rejected": f"No {i}.", "head": "helpful"}
        for i in range(12)
    ]
    objects = [
        rmjax.Comparison(
            (rmjax.Message("user", record["prompt"]),), (record["chosen"], record["rejected"]), (1, 2), head="helpful"
        )
        for record in records
    ]
    expected = rmjax.evaluate(reward_model, objects, bootstrap=20)
    assert rmjax.evaluate(reward_model, iter(records), bootstrap=20) == expected
    # By hand: the share of pairs whose first response has the higher score.
    won = sum(
        reward_model.score(r["prompt"], r["chosen"], head="helpful")
        > reward_model.score(r["prompt"], r["rejected"], head="helpful")
        for r in records
    )
    assert expected["heads"]["helpful"]["accuracy"] == pytest.approx(won / 12)
    with pytest.raises(rmjax.InputError, match=r"^comparison 1: the key \"choosen\" is not known"):
        rmjax.evaluate(reward_model, [records[0], {"prompt": "a", "choosen": "b", "rejected": "c"}])
    named = "gold/both[:6]"
    assert rmjax.evaluate(reward_model, named, bootstrap=20) == rmjax.evaluate(
        reward_model, load_comparisons(named, "test"), bootstrap=20
    )


def test_configurations_are_those_of_the_scripts(tmp_path):
    done = call("train", f"--config={ROOT}/configs/helpful.py:minilm", "--print_config")
    flat = {}

    def flatten(values, prefix=""):
        for name, value in values.items():
            if hasattr(value, "items"):
                flatten(value, f"{prefix}{name}.")
            else:
                flat[prefix + name] = value

    flatten(rmjax.config("helpful:minilm").to_dict())
    assert done.stdout.splitlines() == [f"{name}={json.dumps(value)}" for name, value in flat.items()]
    (tmp_path / "mine.py").write_text(
        "from configs import safety\n\ndef get_config(variant=''):\n    config = safety.get_config(variant)\n"
        "    config.seed = 7\n    return config\n"
    )
    mine = rmjax.config(f"{tmp_path}/mine.py:gpt2")
    assert (mine.seed, mine.heads, mine.model.pretrained) == (7, ("safety",), "openai-community/gpt2")


def test_configurations_leave_another_module_configs_alone(monkeypatch):
    other = type(sys)("configs")
    monkeypatch.setitem(sys.modules, "configs", other)
    assert rmjax.config("sft:scratch").init == "random"
    assert sys.modules["configs"] is other


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("helpfull", "there is no configuration 'helpfull': known are helpful, joint, ppo, safety, sft"),
        ("helpful:huge", "cannot be built: there is no variant 'huge'"),
        ("absent.py", "there is no configuration 'absent.py'"),
    ],
)
def test_a_configuration_that_is_not_there_is_named(name, message):
    with pytest.raises(rmjax.InputError, match=message):
        rmjax.config(name)


def test_without_a_clone_the_error_says_where_configurations_are(monkeypatch, tmp_path):
    monkeypatch.setattr(configurations, "REPOSITORY", tmp_path)
    with pytest.raises(rmjax.InputError, match=r"configs/ is in the repository .* pip install -e \. in a clone"):
        rmjax.config("helpful")


def test_importing_rmjax_imports_nothing_else():
    code = "import sys, rmjax; print([m for m in ('jax', 'numpy', 'flax', 'ml_collections') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there():
    assert sorted(rmjax.__all__) == rmjax.__all__
    for name in rmjax.__all__:
        assert getattr(rmjax, name) is not None
    assert set(rmjax.__all__) <= set(dir(rmjax))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        rmjax.__getattr__("trian")
