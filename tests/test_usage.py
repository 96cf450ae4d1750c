"""Help of the scripts, and the message of a command without flags."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from configs import helpful, ppo, sft, variants
from rmjax.cli import training_flags
from rmjax.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {
    "train": ["--config"],
    "sft": ["--config"],
    "ppo": ["--config"],
    "sweep": ["--config"],
    "evaluate": ["--checkpoint", "--data"],
    "score": ["--checkpoint", "--input", "--output"],
    "benchmark": ["--checkpoint"],
    "best_of_n": ["--checkpoint", "--policy"],
    "export": ["--checkpoint", "--output"],
    "report": ["--workdir"],
    "serve": ["--checkpoint"],
    "label": ["--input", "--output", "--rater"],
}


def call(script, *arguments, cwd=ROOT):
    command = [sys.executable, str(ROOT / "experiments" / f"{script}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def words(text):
    """The text with its line breaks and columns undone."""
    return " ".join(text.split())


def help_of(script, *arguments, cwd=ROOT):
    done = call(script, *arguments, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_has_usage_docstring_and_the_flags_of_the_script(script, tmp_path):
    source = (ROOT / "experiments" / f"{script}.py").read_text()
    shown = help_of(script, "--help", cwd=tmp_path)
    assert shown.startswith(f"usage: python experiments/{script}.py {SCRIPTS[script][0]}=")
    assert ast.get_docstring(ast.parse(source)) in shown
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    defined = [node for node in calls if isinstance(node.func, ast.Attribute) and "DEFINE" in node.func.attr]
    for node in defined:
        assert f"--{node.args[0].value}=" in shown or f"--[no]{node.args[0].value} " in shown
    for name in SCRIPTS[script]:
        line = next(line for line in shown.splitlines() if line.startswith(f"  {name}="))
        assert "Required." in words(shown[shown.index(line) :].partition("\n  -")[0])
    assert "logtostderr" not in shown
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize("flag", ["-h", "-help", "--helpfull"])
def test_help_has_other_names(flag):
    assert help_of("export", flag) == help_of("export", "--checkpoint=x", "--help")


def test_types_and_defaults_of_flags():
    shown = words(help_of("export", "--help"))
    assert "--dtype=float32|bfloat16 Data type of the weights. Default: float32." in shown
    assert "--[no]verify Recompute the canaries of the checkpoint before exporting. Default: True." in shown
    assert "--head=TEXT Head to export; needed if there are several, because the format has one score." in shown


def test_help_lists_configurations_variants_and_fields():
    shown = help_of("train", "--help")
    for page in ("helpful", "joint", "safety"):
        assert f"\n  configs/{page}.py " in shown
    assert "\n  configs/sft.py " not in shown
    for variant in variants.VARIANTS:
        assert f"\n  {variant} " in shown
    assert "Fields of configs/helpful.py" in shown
    for name, value in flat(helpful.get_config().to_dict()):
        assert f"\n  {name}={value if value != '' else repr('')}" in shown
    assert "data.eval=gold/helpful comparisons to report on, used once at the end" in words(shown)
    assert "sft.epochs=1 passes over the training data" in words(shown)


def flat(config, prefix=""):
    for name, value in config.items():
        yield from flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]


def test_help_has_the_fields_of_the_configuration_that_is_named(tmp_path):
    shown = words(help_of("train", "--config=configs/helpful.py:gpt2", "--help"))
    assert "Fields of configs/helpful.py:gpt2" in shown
    assert "model.pretrained=openai-community/gpt2 language model of the package, or a checkpoint on the Hug" in shown
    (tmp_path / "mine.py").write_text(
        "from configs import helpful\n\ndef get_config():\n    config = helpful.get_config()\n"
        "    config.seed = 7  # of my own\n    return config\n"
    )
    shown = words(help_of("train", "--help", "--config", "mine.py", cwd=tmp_path))
    assert "Fields of mine.py" in shown
    assert "seed=7 of my own" in shown


def test_help_of_sft_and_sweep_has_their_own_configurations():
    shown = help_of("sft", "--help")
    assert "\n  configs/sft.py " in shown
    assert "\n  configs/helpful.py " not in shown
    assert "\n  minilm " not in shown  # an encoder
    assert "data.train=gold/helpful training demonstrations, by source name" in words(shown)
    shown = help_of("sweep", "--help")
    for page in (ROOT / "configs" / "sweeps").glob("*.py"):
        assert (f"\n  configs/sweeps/{page.name} " in shown) == (page.stem != "page")
    assert "\n  gpt2 " not in shown
    assert "seeds=8 the number of seeds; they begin at 0." in words(shown)


def test_help_of_ppo_explains_every_field():
    shown = help_of("ppo", "--help", "--config=configs/ppo.py:rloo")
    assert "\n  minilm " not in shown  # an encoder
    rows = shown[shown.index("Fields of configs/ppo.py:rloo") :].splitlines()[1:]
    names = {row.split("=")[0].strip(): i for i, row in enumerate(rows) if row.startswith("  ") and row[2] != " "}
    assert names.keys() == {name for name, _ in flat(ppo.get_config().to_dict())}
    ends = [*list(names.values())[1:], len(rows)]
    for (name, begin), end in zip(names.items(), ends, strict=True):
        assert len(rows[begin].split()) > 1 or end - begin > 1, name
    assert "models.sft.epochs=1 passes over the training data" in words(shown)


@pytest.mark.parametrize("script", ["train", "sft", "ppo"])
def test_the_configuration_that_would_run_is_printed(script, tmp_path):
    page = "helpful" if script == "train" else script
    done = call(script, f"--config={ROOT}/configs/{page}.py", "--config.seed=7", "--print_config", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fields = done.stdout.splitlines()
    assert "seed=7" in fields
    module = {"train": helpful, "sft": sft, "ppo": ppo}[script]
    assert [line.partition("=")[0] for line in fields] == [name for name, _ in flat(module.get_config().to_dict())]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("configs/nothing.py", "no such file"),
        ("configs/helpful.py:huge", "there is no variant 'huge': known are scratch, minilm"),
    ],
)
def test_help_names_a_configuration_that_cannot_be_read(config, message):
    done = call("train", f"--config={config}", "--help")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --config={config}: {message}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=configs/helpfull.py"], "configs/helpfull.py: no such file; there are configs/helpful.py, configs/"),
        (["--config=configs/helpful.py", "--max_step=3"], "flag 'max_step'. A field of the configuration is written"),
        (["--flagfile=absent"], "error: Unable to open flagfile: [Errno 2] No such file or directory: 'absent'"),
    ],
)
def test_a_wrong_flag_gets_what_was_meant(flags, message):
    done = call("train", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "variants" not in done.stderr  # no configuration


def test_a_variant_of_a_policy_that_does_not_exist_gets_the_known_ones():
    done = call("ppo", "--config=configs/ppo.py:ppp", "--help")
    assert "there is no variant 'ppp': known are rloo, grpo, dpo," in done.stderr
    assert "minilm" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--config=configs/helpful.py", "--print_config"]])
def test_a_closed_pipe_is_one_sentence(arguments):
    command = [sys.executable, str(ROOT / "experiments" / "train.py"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    process.stdout.close()
    assert process.stderr.read() == "error: the reader of standard output stopped before all was written\n"
    assert process.wait() == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_flag_at_all_gets_an_example_and_the_missing_flags(script):
    done = call(script)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"usage: python experiments/{script}.py {SCRIPTS[script][0]}=")
    assert lines[1].startswith(f"example: python experiments/{script}.py {SCRIPTS[script][0]}=")
    assert lines[2] == f"All flags: python experiments/{script}.py --help"
    assert lines[-1] == f"error: {' and '.join(SCRIPTS[script])} must be given"


def test_one_flag_of_two_gets_the_missing_one():
    done = call("export", "--checkpoint=x")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: --output must be given\n")


def test_a_command_line_without_a_configuration_is_an_error():
    with pytest.raises(InputError, match="--config is missing"):
        training_flags.config_of(["train.py", "--workdir=somewhere"])
