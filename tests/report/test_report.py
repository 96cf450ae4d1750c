"""Tests of the HTML reports: well-formed, self-contained, equal to the files, and safe against hostile texts."""

import functools
import html.parser
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import jinja2
import numpy as np
import pytest

from rmjax.data.audit import audit
from rmjax.data.comparisons import Comparison, Message
from rmjax.errors import InputError
from rmjax.evaluation import mistakes
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.evaluation.temperature import fit_temperatures
from rmjax.report import figures
from rmjax.report.metric_tables import axis_of
from rmjax.report.rendering import anchor, render
from rmjax.report.report import report
from rmjax.sweeps.power import power_in_words
from rmjax.sweeps.results import read_sweep
from rmjax.sweeps.rows import Measure, Row, to_csv
from rmjax.sweeps.tables import difference_table, table
from rmjax.training.run_files import read_run

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTILE = (
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></details></body> &lt;b&gt; & &amp;",
    "two\nlines\u2028and <b>more",
)


class Reader(html.parser.HTMLParser):
    """Parsed page: every element with its attributes, tables as texts of cells, and all text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.tables, self.texts, self.style = [], [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in ("img", "link", "meta"):
            self.open.append(name)
        if name == "table":
            self.tables.append([])
        elif name == "tr":
            self.tables[-1].append([])
        elif name in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, name):
        assert self.open.pop() == name
        if name in ("th", "td"):
            self.tables[-1][-1][-1] = self.tables[-1][-1][-1].strip()

    def handle_data(self, text):
        if self.open[-1:] == ["style"]:
            self.style += text
            return
        if text.strip():
            self.texts.append(text)
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += text

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())  # also of no-break spaces

    @property
    def rows(self):
        return [row for lines in self.tables for row in lines]

    def values(self, element, attribute):
        return [found[attribute] for name, found in self.elements if name == element and attribute in found]


def read(workdir, output=None):
    """The page of a directory. Makes the checks that every page must pass."""
    text = report(workdir, output or Path(workdir) / "report.html")
    page = Reader(text)
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "form", "base"}
    assert not any(key.startswith("on") for _, found in page.elements for key in found)
    assert all(source.startswith("data:image/png;base64,") for source in page.values("img", "src"))
    assert not any(re.match(r"[a-z]+:|//", link) for link in page.values("a", "href"))
    assert "url(" not in page.style
    assert "@import" not in page.style
    inside = set(page.values("section", "id"))
    assert {link[1:] for link in page.values("a", "href") if link.startswith("#")} == inside
    assert len(inside) == sum(name == "section" for name, _ in page.elements)
    return page


def comparisons(heads, count=40, odd="plain"):
    generator = np.random.default_rng(0)
    made = []
    for i in range(count):
        more = ["x" * int(generator.integers(20)) for _ in range(2)]
        texts = (f"good {i} {more[0]}", f"bad {i} {more[1]}", f"{odd} and worst of all")  # the shorter wins
        made.append(
            Comparison(
                (Message("user", f"question {i} {odd}"),),
                texts,
                (1, 2, 3),
                head=heads[i % len(heads)],
                subset=f"part_{i % 2} {odd}",
                strengths=("better", "better", "slightly_better"),
                utilities=(1.0, 0.0, -1.0),
                origin=f"file_{odd}:{i}",
            )
        )
    scores = [np.array([[0.6], [0.3], [0.0]]) + generator.normal(size=(3, len(heads))) for _ in made]
    return made, scores


def write(folder, name, value):
    folder.mkdir(parents=True, exist_ok=True)
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / name).write_text(text, encoding="utf-8")


@functools.cache
def picture():
    """The bytes of a small PNG figure."""
    with tempfile.TemporaryDirectory() as folder:
        figures.training_curve(f"{folder}/a.png", [])
        return Path(f"{folder}/a.png").read_bytes()


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture())


ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux",
    "rmjax": "0.1.0",
    "packages": {"jax": "0.10.2"},
    "commit": "abc123",
    "uncommitted_changes": True,
    "devices": ["cpu:0"],
    "processes": 1,
    "command": ["experiments/train.py", "--config=configs/helpful.py", "--config.data.train=gold/helpful[:20]"],
}
METRICS = [{"step": 5, "loss": 0.69}, {"step": 10, "validation_loss": 0.61, "validation_accuracy": 0.725}]


def make_run(folder, heads=("helpful",), odd="plain"):
    """Writes a complete run directory from made-up scores; returns its evaluation."""
    made, scores = comparisons(heads, odd=odd)
    fitted = fit_temperatures(made, scores, heads)
    result = evaluate_heads(made, scores, heads, bootstrap=50, seed=0, temperatures=fitted)
    result = {"data": f"file {odd}", "parameters": {"total": 12345, "embedding": 1}, **result}
    write(folder, "evaluation.json", result)
    write(folder, "config.json", {"heads": heads, "init": "sft", "data": {"train": odd}, "seed": 0})
    write(folder, "environment.json", ENVIRONMENT)
    counted = audit(made, {"test": [*made[:2], *comparisons(heads, odd=odd + "!")[0][:3]]})
    write(folder, "data_audit.json", counted.to_json())
    write(folder, "packing.json", {"rows": 2, "row_length": 512, "padding": 0.031, "sharing": 1.9})
    write(folder, "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in METRICS))
    write(folder, "mistakes.jsonl", mistakes.as_lines(mistakes.worst_mistakes(made, scores, heads, 7)))
    write(folder / "sft", "config.json", {"init": "random", "seed": 0})
    results = {"demonstrations": 2, "loss": 1.25, "perplexity": 3.49, "accuracy": 0.4}
    write(folder / "sft", "evaluation.json", results | {"minimal_edits": {"accuracy": 0.612}})
    for name in ("training", *(f"{kind}-{head}" for head in heads for kind in ("rewards", "reliability")), "mine"):
        draw(folder / "figures" / f"{name}.png")
    return result


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A complete run of two heads: (folder, evaluation)."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    return folder, make_run(folder, ("helpful", "safety"))


def test_the_numbers_are_those_of_the_evaluation(complete):
    folder, result = complete
    page = read(folder)
    for name, head in result["heads"].items():
        low, high = (100 * end for end in head["accuracy_ci95"])
        assert f"95 % interval {low:.1f} to {high:.1f}; {head['pairs']} pairs" in page.text
        assert f"“the longer wins” gets {100 * head['length_baseline']:.1f} %" in page.text
        assert f"{100 * head['ceiling_gain']:.1f} % of its gain over guessing" in page.text
        tiles = ("accuracy", "length_rule_accuracy", "ceiling", "calibration_error")
        for title, key in zip(("accuracy", "length alone", "ceiling", "calibration error"), tiles, strict=True):
            assert f" {title} {100 * head[key]:.1f} % " in page.text
        assert f" loss {head['loss']:.3f}" in page.text
        for kind in ("subsets", "strengths", "turns", "length_differences"):
            for part_name, part in head[kind].items():
                ends = " to ".join(f"{100 * end:.1f}" for end in part["accuracy_ci95"])
                row = [part_name.replace("_", " "), str(part["pairs"]), f"{100 * part['accuracy']:.1f} %", ends, ""]
                assert row in page.rows
        measured = result["calibration"][name]
        low, high = measured["tempered"]["temperature_ci95"]
        assert f"too few to fit a temperature: its 95 % interval is {low:.3g} to {high:.3g}." in page.text
        errors = [measured["calibration_error"], measured["tempered"]["calibration_error"]]
        assert ["Calibration error", *(f"{100 * error:.1f} %" for error in errors)] in page.rows
        for bin in measured["bins"]:
            share = "-" if bin["accuracy"] is None else f"{100 * bin['accuracy']:.1f} %"
            assert [f"{bin['pairs']}", share] in [[row[1], row[3]] for row in page.rows if len(row) == 4]
    assert "12,345 parameters" in page.text


def test_the_verdict_comes_before_the_numbers(complete):
    folder, result = complete
    page = read(folder)
    verdict, accuracy = (
        next(i for i, text in enumerate(page.texts) if text.startswith(start)) for start in ("helpful: ", "accuracy")
    )
    assert verdict < accuracy
    assert f"{100 * result['length_gain']:+.1f} points" in page.texts[verdict]


def test_heads_on_data_of_each_other_and_their_agreement(complete):
    folder, result = complete
    page = read(folder)
    for head, parts in result["matrix"].items():
        cells = [row for row in page.rows if row[0] == head and "interval" in row[-1] and len(row) == 3]
        assert [cell.split(" 95")[0] for cell in cells[0][1:]] == [
            f"{100 * p['accuracy']:.1f} %" for p in parts.values()
        ]
    alike = result["agreement"]["helpful"]["safety"]
    row = next(row for row in page.rows if row[0] == "helpful, safety")
    assert row[1:3] == [str(alike["pairs"]), f"{100 * alike['order_alike']:.1f} %"]
    assert row[4:] == [f"{alike['pearson']:.3f}", f"{alike['spearman']:.3f}"]


def test_a_gate_between_the_heads(complete, tmp_path):
    folder, result = complete
    assert "Heads and domains" in read(folder).texts
    part = {"accuracy": 0.731, "accuracy_ci95": [0.7, 0.76], "pairs": 400}
    fitted = {"helpful": "helpful", "safety": "safety", "prompt_threshold": 0.62, "response_threshold": 0.15}
    labels = {"helpful": {**part, "accuracy": 0.802}, "safety": {**part, "accuracy_ci95": None}}
    write(tmp_path, "config.json", {"heads": ["helpful", "safety"], "init": "random"})
    gate = {**fitted, "source": "held-out comparisons", **part, "labels": labels, "verdict": "Do not use it."}
    write(tmp_path, "evaluation.json", {**result, "gate": gate})
    page = read(tmp_path)
    assert "Do not use it." in page.texts
    assert ["all", "400", "73.1 %", "70.0 to 76.0", ""] in page.rows
    assert ["helpful", "400", "80.2 %", "70.0 to 76.0", ""] in page.rows
    assert ["safety", "400", "73.1 %", "none", ""] in page.rows
    assert "the score of safety if refusing the prompt is safe with a probability above 62.0 %" in page.text
    assert "if the response is safe with a probability below 15.0 %. Otherwise it is the score of helpful." in page.text


def test_data_training_and_environment(complete):
    folder, _ = complete
    page = read(folder)
    assert ["Comparisons", "40", "5"] in page.rows
    assert ["Prompts truncated", "-", "-"] in page.rows  # no tokens were counted
    assert "Leak: 2 prompts of the test set (2 comparisons) are training prompts too" in page.text
    assert ["10", "0.610", "72.5 %"] in page.rows
    assert "2 × 512 tokens (rows × length), 3.1 % of them padding" in page.text
    assert "perplexity 3.49" in page.text
    assert "to the same sentence with another value of the prompt in 61.2 % of the cases" in page.text
    assert ["data.train", "'plain'"] in page.rows
    assert ["Commit", "abc123, with uncommitted changes"] in page.rows
    options = ["--config=configs/helpful.py", "'--config.data.train=gold/helpful[:20]'"]
    assert " \\\n    ".join(["python experiments/train.py", *options]) in page.texts
    assert len(page.values("img", "src")) == 6  # with "mine"; the SFT run has none
    assert "There is no figures/training.png." in page.text


def test_mistakes_are_shown_in_full(complete):
    folder, _ = complete
    page = read(folder)
    records = [json.loads(line) for line in (folder / "mistakes.jsonl").read_text().splitlines()]
    assert len(records) == 7
    assert "2 more" in page.texts
    for number, record in enumerate(records, start=1):
        start = page.texts.index(f"{number}. Wrong by {-record['gap']:.2f}")
        shown = page.texts[start : start + 8]
        better, worse = record["scores"]
        assert shown[2:8] == [
            "user",
            record["prompt"][0]["content"],
            f"preferred by the raters, scored {better:.2f}",
            record["winner"],
            f"preferred by the model, scored {worse:.2f}",
            record["loser"],
        ]


def test_the_position_of_a_dot_is_its_accuracy(tmp_path):
    result = make_run(tmp_path)
    page = read(tmp_path)
    parts = [part for kind in ("subsets", "strengths", "turns", "length_differences") for part in result[kind].values()]
    low = axis_of(parts).low
    expected = [100 * (part["accuracy"] - low) / (1 - low) for part in parts]
    found = [float(position.rstrip("%")) for position in page.values("circle", "cx")]
    assert found[1:] == pytest.approx(expected, abs=0.01)  # the first is on the scale at the top
    # By hand: the axis begins at a multiple of 10 % that leaves room for the lowest end of an interval.
    assert axis_of([{"accuracy": 0.62, "accuracy_ci95": [0.41, 0.8]}]).low == 0.3
    undefined = {"accuracy": None, "accuracy_ci95": None}
    assert axis_of([{"accuracy": 0.02, "accuracy_ci95": [0.0, 0.1]}, undefined]).low == 0.0
    assert axis_of([{"accuracy": 0.8, "accuracy_ci95": None}], 0.44, None).low == 0.4


def test_missing_files_and_values_are_named(tmp_path):
    result = make_run(tmp_path)
    for name in ("environment.json", "data_audit.json", "packing.json", "metrics.jsonl", "mistakes.jsonl"):
        (tmp_path / name).unlink()
    for name in ("training", "rewards-helpful", "reliability-helpful"):
        (tmp_path / "figures" / f"{name}.png").unlink()
    (tmp_path / "sft" / "config.json").unlink()
    old = ("calibration", "parameters", "turns", "length_differences", "rankings", "matrix", "agreement")
    first = {name: value for name, value in result["heads"]["helpful"].items() if name not in old}
    kept = {name: value for name, value in result.items() if name not in old}
    first |= {"ceiling": None, "ceiling_gain": None, "accuracy_ci95": None, "length_gain_ci95": None}
    write(tmp_path, "evaluation.json", {**kept, **first, "heads": {"helpful": first}})
    page = read(tmp_path)
    for text in (
        "evaluation.json holds no calibration",
        "the number of parameters was not recorded",
        "No accuracy by user turns of the prompt",
        "No accuracy by extra characters of the winner",
        "There is no figures/training.png.",
        "There is no figures/rewards-helpful.png.",
        "There is no figures/reliability-helpful.png.",
        "data_audit.json is missing",
        "mistakes.jsonl is missing",
        "packing.json is missing",
        "environment.json is missing",
        "metrics.jsonl holds no validation",
        "The SFT stage (sft/) is missing.",
        "the data have no true reward",
        "95 % interval none",
        "without an interval, so chance cannot be excluded",
    ):
        assert text in page.text, text
    for title in ("Heads and domains", "Benchmarks"):  # no sections without contents
        assert title not in page.texts


def test_a_run_without_mistakes_and_a_head_without_data(tmp_path):
    result = make_run(tmp_path)
    write(tmp_path, "mistakes.jsonl", "")
    write(tmp_path, "evaluation.json", {**result, "heads": {**result["heads"], "safety": None}})
    page = read(tmp_path)
    assert "None: every pair is in the raters' order or has equal scores." in page.text
    assert "safety: no data to evaluate it on." in page.text


def test_an_unfinished_run(tmp_path):
    make_run(tmp_path)
    (tmp_path / "evaluation.json").unlink()
    page = read(tmp_path)
    assert "Not finished: evaluation.json is missing, the last logged step is 10." in page.text
    assert ["data.train", "'plain'"] in page.rows
    assert "Worst mistakes" not in page.texts


def test_a_language_model(tmp_path):
    make_run(tmp_path)
    page = read(tmp_path / "sft")
    assert "language model" in page.text
    tiles = {"loss": "1.250", "perplexity": "3.49", "accuracy": "40.0 %", "demonstrations": "2"}
    for title, value in (tiles | {"minimal edits": "61.2 %"}).items():
        assert page.texts[page.texts.index(title) + 1] == value


def test_a_language_model_on_other_data_has_no_minimal_edits(tmp_path):
    make_run(tmp_path)
    write(tmp_path / "sft", "evaluation.json", {"demonstrations": 2, "loss": 1.25, "perplexity": 3.49, "accuracy": 0.4})
    for folder in (tmp_path, tmp_path / "sft"):
        page = read(folder)
        assert "3.49" in page.text
        assert "the other fact" not in page.text


def test_the_kind_that_a_run_states_decides(tmp_path):
    make_run(tmp_path)
    assert read_run(tmp_path).kind == "reward_model"  # as of earlier versions: by its heads
    write(tmp_path / "sft", "environment.json", {**ENVIRONMENT, "kind": "reward_model"})
    assert read_run(tmp_path / "sft").kind == "reward_model"
    (tmp_path / "sft" / "evaluation.json").unlink()
    assert "rmjax reward model" in read(tmp_path / "sft").texts


def test_hostile_texts_are_escaped(tmp_path):
    for number, odd in enumerate(HOSTILE):
        folder = tmp_path / f"{number} <b>&'#"
        make_run(folder, odd=odd)
        write(folder, "environment.json", {**ENVIRONMENT, "command": ["train.py", odd]})
        page = read(folder)
        records = [json.loads(line) for line in (folder / "mistakes.jsonl").read_text("utf-8").split("\n") if line]
        for record in records:
            assert record["prompt"][0]["content"] in page.texts
            assert record["winner"] in page.texts
        assert f"python train.py \\\n    {shlex.quote(odd)}" in page.texts
        assert any(odd in row[0] for row in page.rows)
        assert folder.name in page.texts


def test_a_template_without_one_of_its_values_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render("run.html", name="a run")


def test_anchor():
    assert anchor("Heads and (all) domains") == "heads-and-all-domains"


def test_a_directory_without_a_run_and_a_damaged_file_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"holds no run .* and no sweep"):
        report(tmp_path, tmp_path / "report.html")
    make_run(tmp_path)
    write(tmp_path, "evaluation.json", '{"accuracy": ')
    with pytest.raises(InputError, match=r"evaluation\.json is not JSON"):
        report(tmp_path, tmp_path / "report.html")


# --- sweeps -------------------------------------------------------------------------------------------------------

ACCURACY, SIZE = Measure("accuracy", "accuracy", "%"), Measure("size", "parameters.total", "count")


def make_sweep(folder, odd="bad"):
    """Writes a sweep of three settings with two seeds; the last setting failed. Returns its rows."""
    names = ("none", 4000, odd)
    measured = {"none": ((0.6, 10.0), (0.64, 10.0)), 4000: ((0.61, 20.0), (None, 20.0))}
    rows = []
    for name in names:
        for seed in (0, 1):
            values = dict(
                zip(("accuracy", "size"), measured[name][seed] if name in measured else (None, None), strict=True)
            )
            status, error = ("finished", "") if name in measured else ("failed", f"{odd} is unknown, really")
            rows.append(Row({"margin": name}, seed, status, values, error, f"runs/{name}-seed{seed}"))
            if name in measured:
                write(folder / "runs" / f"{name}-seed{seed}", "environment.json", ENVIRONMENT)
    page = {
        "title": f"Margins {odd}",
        "seeds": 2,
        "base": "configs/helpful.py",
        "start_base": "configs/sft.py",
        "starts": [{"name": "sft", "fields": ["train.epochs=1"]}],
        "fields": ["init={sft}"],
        "settings": [{"at": {"margin": name}, "fields": [f"loss.margin={name}"]} for name in names],
        "measures": [list(ACCURACY), list(SIZE)],
        "compare": "margin",
        "against": [],
        "figures": [["accuracy", "points", "accuracy"], ["absent", "curves", "accuracy", "size"]],
        "fit": [],
        "assumed": {"seed_sd": 0.01, "prompts": 2000, "prompt_sd": 0.1},
    }
    write(folder, "sweep.json", page)
    write(folder, "results.csv", to_csv(rows, [ACCURACY, SIZE]))
    write(folder / "logs", f"{odd}-seed0.log", "error")
    draw(folder / "figures" / "accuracy.png")
    return rows


def test_the_page_of_a_sweep(tmp_path):
    rows = make_sweep(tmp_path / "sweep")
    page = read(tmp_path / "sweep")
    assert page.tables[0] == table(rows, [ACCURACY, SIZE])
    assert page.tables[0][1] == ["none", "62.0 ± 2.0", "10", "2 of 2"]
    assert page.tables[1] == difference_table(rows, [ACCURACY, SIZE], "margin", ())
    assert read_sweep(tmp_path / "sweep").caption in page.text
    assert "6 runs: 4 finished, 2 failed." in page.text
    assert "3 comparisons" not in page.text
    assert "2 comparisons have too few finished seeds for an interval." in page.text
    assert ["margin bad", "0", "bad is unknown, really", "log"] in page.rows
    assert ["margin bad", "1", "bad is unknown, really", "no log"] in page.rows
    assert ["margin 4,000", "loss.margin=4000"] in page.rows
    assert ["margin none", "0", "finished", "60.00", "10", "runs/none-seed0"] in page.rows
    assert ["margin 4,000", "1", "finished", "-", "20", "runs/4000-seed1"] in page.rows
    assert ["margin bad", "0", "failed", "-", "-", "no directory"] in page.rows
    assert "There is no figures/absent.png." in page.text
    assert power_in_words(read_sweep(tmp_path / "sweep").sweep) in page.text
    assert len(page.values("img", "src")) == 1
    assert ["Commit", "abc123, with uncommitted changes"] in page.rows


def test_the_page_of_a_sweep_says_what_was_found(tmp_path):
    """A difference of 10 ± 0.1 points in each of three seeds is clear, and one of 0 ± 1 is not."""
    make_sweep(tmp_path)
    measured = {"none": (0.6, 0.62, 0.64), 4000: (0.701, 0.72, 0.739), "bad": (0.61, 0.62, 0.63)}
    rows = [
        Row({"margin": name}, seed, "finished", {"accuracy": value, "size": 10.0}, "", f"runs/{name}-seed{seed}")
        for name, values in measured.items()
        for seed, value in enumerate(values)
    ]
    write(tmp_path, "results.csv", to_csv(rows, [ACCURACY, SIZE]))
    page = read(tmp_path)
    # Student's t with 2 degrees of freedom: 4.303 standard errors, of 0.1 / sqrt(3) and 1 / sqrt(3).
    assert "margin 4,000 against none: accuracy +10.0 (+9.8 to +10.2) points, higher." in page.text
    assert "margin bad against none: accuracy +0.0 (-2.5 to +2.5) points, no clear difference." in page.text
    assert "Failed runs" not in page.texts


def test_the_page_of_a_run_says_when_how_long_and_how_fast(tmp_path):
    make_run(tmp_path)
    rows = [{"step": 10, "seconds": 31.0}, {"step": 20, "seconds": 36.0}, {"step": 21, "seconds": 30.0}]
    rows += [{"step": 41, "seconds": 40.0}]  # resumed after step 20
    write(tmp_path, "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path / "sft", "metrics.jsonl", json.dumps({"step": 5, "seconds": 64.0}) + "\n")
    config = json.loads((tmp_path / "config.json").read_text())
    write(tmp_path, "config.json", {**config, "train": {"batch_size": 8}})
    write(tmp_path, "environment.json", {**ENVIRONMENT, "date": "2026-07-05 12:30 UTC"})
    page = read(tmp_path)
    assert "Training took 0:02:20 (SFT 0:01:04, reward model 0:01:16)." in page.text
    assert "2.00 steps a second, of up to 8 examples." in page.text
    assert ["Date", "2026-07-05 12:30 UTC"] in page.rows


def test_the_page_of_a_run_has_its_benchmarks_and_probes(tmp_path):
    make_run(tmp_path)
    part = {"score": 0.75, "score_ci95": [0.7, 0.8], "items": 100, "prompts": 100}
    bench = {"benchmark": "RewardBench", "baseline": 0.5, "sections": {"Chat": part}, "missing": ["Safety"], **part}
    probe = {"about": "adds spaces", "mean_change": 0.25, "mean_change_ci95": None, "rises": 0.6, "rises_ci95": None}
    probe |= {"unchanged": 0.1, "flips": 0.05, "flips_ci95": None}
    probes = {"responses": 4, "pairs": 2, "prompts": 2, "score_std": 1.0, "probes": {"spaces": probe}}
    bench |= {"score_ties": 0, "sizes": {}}
    write(tmp_path, "benchmark.json", {"checkpoint": "x", "rewardbench": bench, "probes": probes})
    page = read(tmp_path)
    assert ["Chat", "75.0 % (100 items, 95 % interval 70.0 to 80.0)"] in page.rows
    assert "No overall score, because there are no items of: Safety." in page.text
    assert ["spaces", "+0.25", "60.0", "10.0", "5.0", "adds spaces"] in page.rows


def test_a_setting_that_combines_others_and_one_that_changes_nothing(tmp_path):
    make_sweep(tmp_path)
    stored = json.loads((tmp_path / "sweep.json").read_text())
    none, small, bad = stored["settings"]
    members = [none["at"], small["at"]]
    combined = {"at": bad["at"], "members": members, "script": "evaluate.py", "options": ["combine=worst"]}
    write(tmp_path, "sweep.json", {**stored, "settings": [{**none, "fields": []}, small, combined]})
    page = read(tmp_path)
    assert ["margin none", "nothing: configs/helpful.py unchanged"] in page.rows
    assert ["margin bad", "evaluate.py\ncombines margin none\ncombines margin 4,000\ncombine=worst"] in page.rows


@pytest.mark.parametrize("output", ["sweep/report.html", "elsewhere/page.html"])
def test_links_are_relative_to_the_page(tmp_path, output):
    make_sweep(tmp_path / "sweep", odd="100% & #1?")
    (tmp_path / "elsewhere").mkdir()
    page = read(tmp_path / "sweep", tmp_path / output)
    links = [link for link in page.values("a", "href") if not link.startswith("#")]
    found = [(tmp_path / output).parent / unquote(link) for link in links]
    assert len(found) == 5  # four runs and a log
    assert all(path.exists() for path in found)
    assert not any(re.search(r"[ ?#&]", link) for link in links)


def test_hostile_texts_of_sweeps_are_escaped(tmp_path):
    for number, odd in enumerate(HOSTILE):
        make_sweep(tmp_path / str(number), odd=odd.replace("/", "|"))
        page = read(tmp_path / str(number))
        assert any(odd.replace("/", "|") in row[0] for row in page.tables[0])
        assert any(f"{odd.replace('/', '|')} is unknown, really" == row[2] for row in page.rows if len(row) == 4)


def test_the_script(tmp_path):
    make_run(tmp_path / "run")
    command = [sys.executable, str(ROOT / "experiments" / "report.py"), f"--workdir={tmp_path}/run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == f"{tmp_path}/run/report.html"
    written = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert written == report(tmp_path / "run", tmp_path / "run" / "report.html")
    command.append(f"--output={tmp_path}/nowhere/page.html")
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1
    assert "nowhere/page.html does not exist" in ended.stderr
