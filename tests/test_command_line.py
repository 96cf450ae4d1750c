"""Scripts in separate processes: output, errors, interruptions, and files."""

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scripts import ROOT, call, command, environment

import rmjax
from rmjax.data.gold.corpus import comparisons
from rmjax.data.records import parse_demonstrations

SMALL = [
    "--config.data.holdout=0.1",
    "--config.data.train=gold/helpful[:96]",
    "--config.data.eval=gold/helpful[:40]",
    "--config.tokenizer.vocab_size=300",
    "--config.model.width=16",
    "--config.model.layers=1",
    "--config.model.heads=2",
    "--config.model.kv_heads=2",
    "--config.model.head_dim=8",
    "--config.model.mlp_width=16",
    "--config.sft.max_steps=3",
    "--config.train.batch_size=8",
    "--config.train.checkpoint_every=3",
    "--config.train.evaluate_every=3",
    "--config.train.log_every=1",
    "--config.evaluation.bootstrap=50",
    "--config.evaluation.references=16",
]


def train(workdir: Path, *more: str) -> list[str]:
    return [f"--config={ROOT}/configs/helpful.py:scratch", f"--workdir={workdir}", *SMALL, *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The default configuration, shrunk, from its command to its end: (run directory, what it printed)."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    done = call("train", *train(workdir))
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_a_run_leaves_everything_it_promises_and_says_where(finished):
    workdir, printed = finished
    for name in (
        "config.json",
        "environment.json",
        "data_audit.json",
        "packing.json",
        "metrics.jsonl",
        "evaluation.json",
        "mistakes.jsonl",
        "evaluation.outcomes.npz",
    ):
        assert (workdir / name).stat().st_size > 0
    assert sorted(path.name for path in (workdir / "figures").iterdir()) == [
        "reliability-helpful.png",
        "rewards-helpful.png",
        "training.png",
    ]
    assert (workdir / "sft" / "evaluation.json").is_file()
    assert f"Everything is in {workdir}" in printed
    assert "demonstrations of gold/helpful[:96] (SFT), 3 steps of 14 in both stages" in printed
    assert "from its weights, 11 steps of 14" in printed
    assert re.search(r"\nTraining took 0:\d\d:\d\d \(SFT 0:\d\d:\d\d, reward model 0:\d\d:\d\d\)\.\n", printed)
    assert f"--checkpoint={workdir}" in printed
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 11  # 86 of 96 prompts are left to train on, 8 in a batch
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    assert {"accuracy", "accuracy_ci95", "pairs", "ties", "length_baseline", "ceiling", "loss"} <= evaluation.keys()
    assert evaluation["heads"]["helpful"]["accuracy"] == evaluation["accuracy"]


def test_a_stopped_run_goes_on_to_the_same_end(finished, tmp_path):
    """SIGTERM in the middle, then the same command again: metrics and evaluation equal those of a run left alone."""
    whole, _ = finished
    workdir = tmp_path / "stopped"
    process = subprocess.Popen(command("train", *train(workdir)), env=environment(), stderr=subprocess.PIPE, text=True)
    log = workdir / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "the same command resumes" in errors
    assert not (workdir / "evaluation.json").exists()

    again = call("train", *train(workdir))
    assert again.returncode == 0, again.stderr
    assert "resuming" in again.stdout
    assert (workdir / "evaluation.json").read_text() == (whole / "evaluation.json").read_text()

    def rows(path: Path) -> list[dict]:
        timed = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        return [{name: value for name, value in row.items() if name != "seconds"} for row in timed]

    assert rows(workdir) == rows(whole)


def test_the_best_of_the_kept_checkpoints_is_evaluated_and_opened(tmp_path):
    """Validation labels that are the opposite of the training labels: every step makes their loss worse."""
    workdir = tmp_path / "best"
    opposite = tmp_path / "opposite.jsonl"
    records = (
        {"prompt": [m._asdict() for m in c.prompt], "responses": c.responses, "ranks": [10 - rank for rank in c.ranks]}
        for c in comparisons("helpful", "validation", 60)
    )
    opposite.write_text("".join(json.dumps(record) + "\n" for record in records))
    best = ("--config.train.select=best", "--config.train.keep=9", f"--config.data.validation=jsonl:{opposite}")
    done = call("train", *train(workdir, *best))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}
    step = min(losses, key=losses.get)
    assert step < max(losses) == 12
    assert f"the validation loss is lowest at step {step} " in done.stdout
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir())[-1] == f"{step:06d}"
    scored = call(
        "evaluate", f"--checkpoint={workdir}", "--data=gold/helpful[:40]", f"--output={tmp_path / 'again.json'}"
    )
    assert scored.returncode == 0, scored.stderr
    written = ", ".join(f"{tmp_path}/again.{ending}" for ending in ("json", "outcomes.npz", "mistakes.jsonl"))
    assert f"Written: {written}" in scored.stdout
    again, stated = (json.loads(path.read_text()) for path in (tmp_path / "again.json", workdir / "evaluation.json"))
    assert again["loss"] == pytest.approx(stated["loss"], rel=1e-5)


def test_a_finished_run_says_so_and_another_configuration_is_refused(finished):
    workdir, _ = finished
    before = (workdir / "evaluation.json").stat().st_mtime
    again = call("train", *train(workdir))
    assert again.returncode == 0
    assert "is finished: nothing to do. To train again, give another --workdir or delete this one." in again.stdout
    assert (workdir / "evaluation.json").stat().st_mtime == before
    other = call("train", *train(workdir, "--config.seed=1"))
    assert other.returncode == 1
    assert "seed was 0 and is 1" in other.stderr


def test_a_text_scores_the_same_everywhere(finished, tmp_path):
    """In training's evaluation, evaluate.py, score.py and `rmjax.load` in another process."""
    workdir, _ = finished
    evaluated = call(
        "evaluate",
        f"--checkpoint={workdir}",
        "--data=gold/helpful[:40]",
        f"--output={tmp_path}/e.json",
        "--bootstrap=50",
        "--validation=gold/helpful[:30]",
        f"--against={workdir}",
        "--mistakes=7",
    )
    assert evaluated.returncode == 0, evaluated.stderr
    mine, theirs = (json.loads(p.read_text()) for p in (tmp_path / "e.json", workdir / "evaluation.json"))
    assert mine["heads"] == theirs["heads"]
    assert mine["calibration"]["helpful"]["bins"] == theirs["calibration"]["helpful"]["bins"]
    fitted = [result["calibration"]["helpful"]["tempered"]["fitted_pairs"] for result in (mine, theirs)]
    assert fitted[0] != fitted[1]  # each on its own validation data
    assert (mine["against"]["difference"], mine["against"]["agree"]) == (0.0, 1.0)
    kept, all_kept = (p.read_text().splitlines() for p in (tmp_path / "e.mistakes.jsonl", workdir / "mistakes.jsonl"))
    assert kept == all_kept[:7]
    assert len(kept) == 7
    assert evaluated.stdout.count("preferred by the model, scored") == 3
    assert "is not distinguishable from" in evaluated.stdout

    records = [
        {"id": 7, "prompt": "Hi, how are you?", "response": "I am good?"},
        {"prompt": [{"role": "user", "content": "Hi, how are you?"}], "responses": ["Hi there!", "I am good?", ""]},
        {"chosen": "\n\nHuman: Hello\n\nAssistant: Hi!", "rejected": "\n\nHuman: Hello\n\nAssistant: No."},
    ]
    source, target = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    with gzip.open(source, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    scored = call("score", f"--checkpoint={workdir}", f"--input={source}", f"--output={target}")
    assert scored.returncode == 0, scored.stderr
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k not in ("scores", "cut_tokens")} for line in lines] == records
    assert [len(line["scores"]) for line in lines] == [1, 3, 2]
    assert [line["cut_tokens"] for line in lines] == [[[0, 0]], [[0, 0]] * 3, [[0, 0]] * 2]
    assert "truncation" not in scored.stderr
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"prompt": "Why?", "responses": ["x" * 9000, "Yes."]}) + "\n")
    scored = call("score", f"--checkpoint={workdir}", f"--input={long}", f"--output={tmp_path / 'cut.jsonl'}")
    (_, cut), (_, none) = json.loads((tmp_path / "cut.jsonl").read_text())["cut_tokens"]
    assert none == 0 < cut
    assert f"warning: truncation cut {cut:,} tokens off 2 scored texts" in scored.stderr
    whole, log = target.read_text(), tmp_path / "log"
    log.write_text("before\n")
    target.write_text("".join(json.dumps(record) + "\n" for record in records))
    with log.open("a") as appended, target.open() as given:
        streams = {"stdin": given, "stdout": appended, "stderr": subprocess.PIPE}
        started = command("score", f"--checkpoint={workdir}", "--input=-", "--output=-")
        piped = subprocess.run(started, **streams, text=True, env=environment(), cwd=ROOT)
    assert log.read_text() == f"before\n{whole}", piped.stderr
    assert piped.stderr.strip().splitlines()[-1].startswith("-: 3 lines, 6 responses")
    scored = call("score", f"--checkpoint={workdir}", f"--input={target}", f"--output={target}")
    assert scored.stdout.startswith(f"{target}: 3 lines, 6 responses")
    assert target.read_text() == whole
    model = rmjax.load(workdir, devices=1)
    prompt = "Hi, how are you?"
    np.testing.assert_allclose(
        np.concatenate([line["scores"] for line in lines]),
        np.concatenate(
            [
                model.score(prompt, ["I am good?"]),
                model.score(prompt, ["Hi there!", "I am good?", ""]),
                model.score("Hello", ["Hi!", "No."]),
            ]
        ),
        atol=1e-5,
    )


def test_evaluation_says_whether_the_files_are_the_published_ones(finished, tmp_path):
    pairs = [{name: f"\n\nHuman: {i}?\n\nAssistant: {name}" for name in ("chosen", "rejected")} for i in range(3)]
    (tmp_path / "helpful-base").mkdir()
    with gzip.open(tmp_path / "helpful-base" / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(pair) + "\n" for pair in pairs)
    flags = ["--data=hh_rlhf/helpful-base", f"--manual_dir={tmp_path}", f"--output={tmp_path}/e.json", "--bootstrap=0"]
    done = call("evaluate", f"--checkpoint={finished[0]}", *flags, HOME=str(tmp_path))  # where the data are kept
    assert done.returncode == 0, done.stderr
    note = "pairs of helpful-base/test.jsonl.gz, not the published file"
    assert done.stdout.startswith(f"{note}: 3\n\n")
    assert json.loads((tmp_path / "e.json").read_text())["notes"] == {note: 3}


def test_the_sft_run_inside_is_a_start_for_other_runs(finished, tmp_path):
    workdir, _ = finished
    done = call("train", *train(tmp_path / "from", f"--config.init={workdir}/sft", "--config.train.max_steps=2"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "from" / "sft").exists()
    other = call("train", *train(tmp_path / "wide", f"--config.init={workdir}/sft", "--config.model.mlp_width=24"))
    assert other.returncode == 1
    assert "model.mlp_width" in other.stderr
    (tokenizer,) = (workdir / "sft" / "checkpoints").glob("*/tokenizer")
    named = call(
        "train", *train(tmp_path / "named", f"--config.tokenizer.path={tokenizer}", "--config.train.max_steps=2")
    )
    assert named.returncode == 0, named.stderr  # its own SFT stage keeps the tokenizer that is named
    both = call("train", *train(tmp_path / "b", f"--config.init={workdir}/sft", f"--config.tokenizer.path={tokenizer}"))
    assert both.returncode == 1
    assert "brings its own tokenizer" in both.stderr
    scoreless = call("evaluate", f"--checkpoint={workdir}/sft", "--data=gold/helpful[:4]")
    assert scoreless.returncode == 1
    assert "language model" in scoreless.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--config=configs/nothing.py"], 2, "configs/nothing.py"),
        (["--config=configs/helpful.py:huge"], 2, "no variant 'huge'"),
        (["--config=configs/helpful.py", "--config.train.epoch=2"], 2, "epoch"),
        (["--config=configs/helpful.py", "--config.train.epochs=two"], 2, "two"),
        (["--config=configs/helpful.py", "--worker=3"], 2, "worker"),
        (["--config=configs/helpful.py", "stray"], 2, "stray"),
        ([], 2, "config"),
        (["--config=configs/helpful.py", "--config.data.eval=jsonl:absent.jsonl"], 1, "absent.jsonl"),
        (["--config=configs/helpful.py:scratch", "--config.data.train=jsonl:mine.jsonl"], 1, "set data.eval"),
        (["--config=configs/helpful.py", "--config.data.train=golf/helpful"], 1, "golf/helpful"),
        (["--config=configs/helpful.py", "--config.loss.name=no_such_loss"], 1, "no_such_loss"),
        (
            ["--config=configs/helpful.py", "--config.loss.margin=given", "--config.data.train=gold/helpful[:50]"],
            1,
            "margin",
        ),
        (["--config=configs/helpful.py", "--config.train.optimizer.learning_rate=-1.0"], 1, "learning_rate"),
        (["--config=configs/helpful.py", "--config.init=nowhere"], 1, "nowhere"),
        (["--config=configs/helpful.py", "--config.parallel.devices=99"], 1, "99"),
        (
            [
                "--config=configs/helpful.py",
                "--config.train.select=best",
                "--config.train.evaluate_every=400",
                "--config.loss.name=squared_error",
            ],
            1,
            "train.select=best needs a validation loss",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_ends_training_before_it_begins(arguments, status, words, tmp_path):
    """One sentence on standard error, no traceback, no run directory."""
    where = [] if not arguments else [f"--workdir={tmp_path}/run"]
    done = call("train", *arguments, *where)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_several_checkpoints_are_an_ensemble(finished, tmp_path):
    """An ensemble of a model with itself has the scores of that model, for every way to combine them."""
    workdir, _ = finished
    twice, data = f"--checkpoint={workdir},{workdir}", "--data=gold/helpful[:40]"
    alone = json.loads((workdir / "evaluation.json").read_text())["accuracy"]
    for way in (["--combine=mean"], ["--combine=best", "--validation=gold/helpful[:9]"]):
        done = call("evaluate", twice, data, *way, "--bootstrap=0", f"--output={tmp_path}/e.json")
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "e.json").read_text())["accuracy"] == alone
    for flags, words in (
        ([twice], "--combine and several checkpoints"),
        ([f"--checkpoint={workdir}", "--combine=mean"], "--combine and several checkpoints"),
        ([twice, "--combine=mean", "--penalty=1"], "--penalty belongs to --combine=uncertainty"),
        ([twice, "--combine=best"], "--combine=best chooses by accuracy on --validation"),
        ([f"--checkpoint={workdir}", "--gate"], "this checkpoint has no gate"),
    ):
        refused = call("evaluate", *flags, data)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_runs_of_several_seeds_are_compared_by_seed_and_prompt(finished):
    """A model with itself: no difference, and an interval of no width."""
    workdir, _ = finished
    twice, data = f"{workdir},{workdir}", "--data=gold/helpful[:40]"
    done = call("evaluate", f"--checkpoint={twice}", f"--against={twice}", data, "--output=-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    stated = json.loads((workdir / "evaluation.json").read_text())
    assert result["against"]["accuracy"] == result["against"]["other_accuracy"] == [stated["accuracy"]] * 2
    assert (result["against"]["difference"], result["against"]["difference_ci95"]) == (0.0, [0.0, 0.0])
    assert "over 2 seeds" in done.stderr
    for flags, words in (
        ([f"--checkpoint={twice}", f"--against={twice},{workdir}"], "--checkpoint names 2 runs and --against 3"),
        ([f"--checkpoint={twice}", f"--against={twice}", "--combine=mean"], "--combine, --gate and --validation are"),
    ):
        refused = call("evaluate", *flags, data)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_bad_input_ends_scoring_with_nothing_written(finished, tmp_path):
    workdir, _ = finished
    good = '{"prompt": "Hi", "response": "Hello"}\n'
    (tmp_path / "bad.jsonl").write_text(good * 2 + '{"prompt": "Hi"}\n')
    (tmp_path / "good.jsonl").write_text(good)
    (tmp_path / "empty.jsonl").write_text("")
    cases = [
        ([f"--checkpoint={workdir}", f"--input={tmp_path}/bad.jsonl"], "bad.jsonl:3"),
        ([f"--checkpoint={workdir}", f"--input={tmp_path}/empty.jsonl"], "empty.jsonl"),
        ([f"--checkpoint={workdir}", f"--input={tmp_path}/good.jsonl", "--head=beauty"], "beauty"),
        ([f"--checkpoint={tmp_path}", f"--input={tmp_path}/good.jsonl"], "checkpoint"),
    ]
    for arguments, words in cases:
        done = call("score", *arguments, f"--output={tmp_path}/out.jsonl")
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "empty.jsonl", "good.jsonl"]


def test_responses_are_generated_for_json_and_text_and_are_the_same_again(finished, tmp_path):
    """From the SFT run inside of the run."""
    workdir, _ = finished
    (tmp_path / "in.jsonl").write_text(
        '{"prompt": "Hi, how are you?"}\n{"messages": [{"role": "user", "content": "Why?"}]}\n'
    )
    (tmp_path / "in.txt").write_text("Hi, how are you?\n\nWhy?\n")
    base = [f"--checkpoint={workdir / 'sft'}", "--n=3", "--max_response=9"]
    done = call("generate", *base, f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "2 prompts, 6 responses" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["Hi, how are you?", [{"role": "user", "content": "Why?"}]]
    for line in lines:
        assert len(line["responses"]) == 3
        for response in line["responses"]:
            assert response.keys() == {"text", "tokens", "logprob", "stopped"}
            assert response["stopped"] or response["tokens"] == 9
            assert response["logprob"] < 0
    again = call("generate", *base, f"--input={tmp_path}/in.txt", "--output=-")
    assert again.returncode == 0, again.stderr
    assert [json.loads(line)["responses"] for line in again.stdout.splitlines()] == [r["responses"] for r in lines]


def test_errors_of_generate_are_one_sentence(finished, tmp_path):
    workdir, _ = finished
    (tmp_path / "in.jsonl").write_text('{"text": "Why?"}\n')
    given = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl"]
    for arguments, words in (
        ([f"--checkpoint={workdir}"], f"its language model is in {workdir}/sft"),
        ([f"--checkpoint={workdir}/sft"], "in.jsonl:1: a prompt is"),
        ([f"--checkpoint={workdir}/sft", "--greedy", "--n=2"], "set --n=1"),
        ([f"--checkpoint={workdir}/sft", "--top_p=2"], "top_p must be in"),
    ):
        done = call("generate", *arguments, *given)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out.jsonl").exists()


def test_the_best_of_n_is_measured_and_its_winners_are_demonstrations(finished, tmp_path):
    """Prompts of the corpus with the gold reward, then prompts of a file."""
    workdir, _ = finished
    base = [f"--checkpoint={workdir}", f"--policy={workdir}", "--bootstrap=50", "--max_tokens=40"]
    output = [f"--output={tmp_path}/r.json", f"--winners={tmp_path}/w.jsonl"]
    done = call(
        "best_of_n", *base, *output, "--n=4,1", "--samples=6", "--prompts=48", "--top_p=0.9", "--rules=soft:1e-3"
    )
    assert done.returncode == 0, done.stderr
    assert "48 prompts of gold/helpful, 6 samples each" in done.stdout
    assert f"Written: {tmp_path}/r.json, {tmp_path}/r.scores.npz" in done.stdout
    result = json.loads((tmp_path / "r.json").read_text())
    assert [row["n"] for row in result["curve"]] == [1, 4]
    assert result["sampling"]["top_p"] == 0.9
    assert result["policy"] == f"{workdir}/sft"
    scores = np.load(tmp_path / "r.scores.npz")
    assert scores["score"].shape == scores["gold_helpful"].shape == (48, 6)
    one, four = result["curve"]
    assert one["score"] == pytest.approx(scores["score"].mean(), abs=1e-5)
    assert one["score"] < four["score"] <= scores["score"].max(1).mean()
    assert 1 <= result["best_n"]["helpful"]["n"] <= 4
    (soft,) = result["rules"]  # at a low temperature it is best-of-n, of other subsets
    assert soft["score"] == pytest.approx(four["score"], abs=0.02 * float(scores["score"].std()))
    assert soft["score_ci95"][0] < soft["score"] < soft["score_ci95"][1]
    assert "soft:1e-3" in done.stdout
    winners = [json.loads(line) for line in (tmp_path / "w.jsonl").read_text().splitlines()]
    assert f"{len(winners)} winners of 4; {48 - len(winners)} were cut and are left out" in done.stdout
    model = rmjax.load(workdir)
    assert winners
    for winner in winners:
        (demonstration,) = parse_demonstrations(winner)
        assert [m._asdict() for m in demonstration.prompt] == winner["prompt"]
        assert demonstration.response == winner["response"]
        assert model.score(winner["prompt"], winner["response"]) == pytest.approx(winner["score"], abs=1e-4)
    (tmp_path / "in.txt").write_text("Hi, how are you?\nWhy?\n")
    done = call("best_of_n", *base, f"--input={tmp_path}/in.txt", "--n=2", "--gold=safety", "--output=-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["prompts"], result["samples"], list(result["best_n"])) == (2, 4, ["safety"])

    for wrong, words in (
        (["--n=4", "--samples=3"], "draw at least as many"),
        (["--n=two"], "must be whole numbers"),
        (["--n=2", "--rules=soft"], "must be soft:TEMPERATURE, poisson or pessimistic:BETA, with a number above 0"),
        (["--n=4", "--rules=poisson"], "mean=3 must be between 0 and well below the 8 samples of a prompt: draw more"),
        (["--n=2", "--data=gold/helpful", f"--input={tmp_path}/in.txt"], "give one of them"),
    ):
        done = call("best_of_n", *base, *wrong)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
@pytest.mark.parametrize(("given", "found"), [({}, "glibc.malloc.hugetlb=1"), ({"GLIBC_TUNABLES": ""}, "")])
@pytest.mark.parametrize("script", ["experiments/train.py", str(ROOT / "experiments" / "train.py")])
def test_a_script_runs_on_large_pages_unless_told_otherwise(given, found, script, tmp_path):
    """A configuration is Python, so it can say what it was loaded in."""
    page = tmp_path / "page.py"
    page.write_text("import os\n\ndef get_config():\n    raise ValueError(f'<{os.environ[\"GLIBC_TUNABLES\"]}>')\n")
    plain = {name: value for name, value in environment().items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, script, f"--config={page}"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**plain, **given}, cwd=ROOT)
    assert ended.returncode == 2
    assert f"<{found}>" in ended.stderr
