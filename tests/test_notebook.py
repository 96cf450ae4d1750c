"""The analysis notebook: every cell runs in a separate kernel on tiny models."""

import json
import math
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import nbformat
from nbclient import NotebookClient

import rmjax
from rmjax.evaluation.text_table import markdown_table
from rmjax.scoring.checkpoint import save_checkpoint
from rmjax.scoring.finalize import finalize
from rmjax.sweeps.rows import Measure, Row, to_csv
from rmjax.sweeps.tables import difference_table, table

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "analysis.ipynb"
ACCURACY = Measure("accuracy", "accuracy", "%")


def make_run(folder, model):
    """What the notebook reads of a run directory: its configuration, metrics and checkpoint."""
    optimizer = {"step": jnp.asarray(7, jnp.int32)}
    params = model.layout.unreplicate(model.params)
    save_checkpoint(folder / "checkpoints", model.contract, model.tokenizer, params, optimizer, keep=1)
    (folder / "config.json").write_text(json.dumps({"heads": model.heads}))
    rows = ({"step": step, "loss": 0.7 - step / 100, "accuracy": 0.5 + step / 100} for step in range(1, 8))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_sweep(folder, axis, places, figure, fit=()):
    """A sweep's directory without its runs, which the notebook does not open; its rows."""
    rows = [
        Row({axis: at}, seed, "finished", {"accuracy": 0.6 + place**2 / 50 + seed / 100}, "", f"runs/{at}")
        for place, at in enumerate(places)
        for seed in (0, 1)
    ]
    page = {
        "title": f"Accuracy by {axis}",
        "seeds": 2,
        "base": "configs/helpful.py",
        "start_base": "configs/sft.py",
        "starts": [],
        "fields": [],
        "settings": [{"at": {axis: at}, "fields": []} for at in places],
        "measures": [list(ACCURACY)],
        "compare": axis,
        "against": [],
        "figures": [figure],
        "fit": list(fit),
    }
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(page))
    (folder / "results.csv").write_text(to_csv(rows, [ACCURACY]))
    return rows


def outputs(cell, kind):
    """What a cell displayed in a format, or printed (`text`)."""
    if kind == "text":
        return "".join(o["text"] for o in cell["outputs"] if o["output_type"] == "stream" and o["name"] == "stdout")
    return [output["data"][kind] for output in cell["outputs"] if kind in output.get("data", {})]


def test_the_notebook_is_committed_with_the_outputs_of_every_cell():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    assert kinds.count("display_data") > 5
    assert "error" not in kinds


def run_notebook(folder, monkeypatch, **variables):
    """The notebook after its cells ran in a folder, with these environment variables."""
    for name in ("RUNS", "RUN", "OTHER", "DATA"):
        monkeypatch.setenv(f"RMJAX_{name}", str(variables.get(name, "")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def test_every_cell_runs(tmp_path, monkeypatch, reward_model, make_model, references):
    single = make_model(heads=("reward",))
    single.contract = finalize(single, {"reward": references["helpful"]}, "made-up texts", step=7)
    make_run(tmp_path / "two", reward_model)
    make_run(tmp_path / "one", single)
    sweeps = {
        "margin": make_sweep(tmp_path / "a", "margin", ("none", "small"), ["accuracy", "points", "accuracy"]),
        "width": make_sweep(
            tmp_path / "b", "width", (24, 48, 96), ["accuracy", "curves", "accuracy", "width"], ("accuracy", "width")
        ),
    }
    notebook = run_notebook(
        tmp_path,
        monkeypatch,
        RUNS=tmp_path,
        RUN=tmp_path / "two",
        OTHER=tmp_path / "one",
        DATA="gold/both[:24]",
    )

    titles = [re.match(r"#+ (.*)", cell.source).group(1) for cell in notebook.cells if cell.cell_type == "markdown"]
    part, parts = "", {title: [] for title in titles}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            part = titles.pop(0)
        else:
            parts[part].append(cell)
    for title, drawn in (("Training", 2), ("Rewards", 2), ("Are the probabilities frequencies?", 2), ("Sweeps", 2)):
        assert len(outputs(parts[title][0], "image/png")) == drawn, title
    shown = outputs(parts["Sweeps"][0], "text/markdown")
    for place, (axis, rows) in enumerate(sweeps.items()):
        title, means, differences, fit, _ = shown[5 * place : 5 * place + 5]
        assert title == f"### Accuracy by {axis}"
        assert means == markdown_table(table(rows, [ACCURACY]))
        assert differences == markdown_table(difference_table(rows, [ACCURACY], axis, ()))
        assert fit.startswith("Fit: accuracy = ") == (axis == "width")
    compared = outputs(parts["Which is better?"][0], "text")
    assert re.search(r"same on +[\d.]+ % of \d+ pairs", compared)
    assert re.match(r" +all pairs +helpful +safety\n", compared)

    words = {}
    exec(parts["Your own texts"][0].source, words)
    expected = []
    for name, model in (("two", reward_model), ("one", single)):
        for head in model.heads:
            one, other = model.score(words["prompt"], [words["one"], words["other"]], head=head)
            expected.append(f"{tmp_path}/{name}, {head}: {1 / (1 + math.exp(other - one)):.2f}")
    assert outputs(parts["Your own texts"][1], "text").splitlines() == expected


def test_it_opens_the_newest_run_with_its_own_test_data_and_needs_no_sweep(tmp_path, monkeypatch, quick_compilation):
    lines = (f'{{"prompt": "Add {n} and 2.", "chosen": "It is {n + 2}.", "rejected": "No idea."}}\n' for n in range(40))
    (tmp_path / "own.jsonl").write_text("".join(lines))
    config = rmjax.config("helpful:scratch")
    config.init = "random"
    config.data.train, config.data.eval, config.data.holdout = f"jsonl:{tmp_path}/own.jsonl", "holdout:20%", 0.2
    config.tokenizer.vocab_size = 300
    config.model.width, config.model.layers, config.model.mlp_width = 8, 1, 8
    config.train.max_steps, config.evaluation.bootstrap, config.evaluation.references = 1, 10, 8
    for seed, name in enumerate(("old", "new")):
        config.seed = seed
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            rmjax.train(config, tmp_path / "runs" / name)
    os.utime(tmp_path / "runs" / "old" / "evaluation.json", (1, 1))
    notebook = run_notebook(tmp_path, monkeypatch, RUNS=tmp_path / "runs")
    printed = "".join(outputs(cell, "text") for cell in notebook.cells if cell.cell_type == "code")
    new, old = (f"{tmp_path}/runs/{name}" for name in ("new", "old"))
    assert printed.index(f"{new}: RewardModel(") < printed.index(f"{old}: RewardModel(")
    evaluated = json.loads((tmp_path / "runs" / "new" / "evaluation.json").read_text())["comparisons"]
    assert f"\n{evaluated} comparisons of the test data of {new}" in printed
    assert "has no sweep" in printed
