"""A run directory -> one HTML page that a person can read, print and send: no other files, nothing loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rmjax.errors import InputError
from rmjax.evaluation.metrics import Metrics
from rmjax.evaluation.summary import NUMBERS, measured_heads, verdict
from rmjax.evaluation.text_table import percent
from rmjax.report import data_sections as report_data
from rmjax.report import metrics_sections as report_parts
from rmjax.report.html import Html, absent, contents, details, figure, joined, page, paragraph, section, table, tag
from rmjax.report.sweep_report import sweep_report
from rmjax.training.run_files import RunFiles, read_run

MEASURE = "experiments/evaluate.py measures it anew"
REWARDS = (
    "Left: the scores of responses that the raters ranked first, and of the others. Right: by how much the winner of "
    "each pair is scored above its loser; what lies below 0 is in the wrong order."
)
RELIABILITY = (
    "Above: of the pairs that the model is so sure of, how many it has right; on the dashed line its probabilities "
    "are frequencies. Below: how many pairs there are."
)
DASH = "A dash: there are none, or it was not measured."
TRAINING = "Faint: every logged step. Solid: smoothed. Points: the validation set."


def report(workdir: str | Path, output: Path) -> str:
    """The page of a run directory, or of a sweep's directory.

    Args:
        workdir: of experiments/train.py, experiments/sft.py or experiments/sweep.py.
        output: where the page will lie; links to other files are relative to it.

    Returns:
        An HTML document with everything in it but the runs of a sweep, to which it links.

    Raises:
        InputError: the directory is neither, or one of its files cannot be read.
    """
    workdir = Path(workdir)
    if (workdir / "sweep.json").is_file():
        return sweep_report(workdir, output)
    if (workdir / "config.json").is_file():
        return run_report(read_run(workdir))
    raise InputError(f"{workdir} holds no run (config.json) and no sweep (sweep.json): give the directory of one")


def run_report(run: RunFiles) -> str:
    """The page of a run, finished or not, of a reward model or of a language model."""
    judges = "heads" in run.config  # else a language model
    kind = "reward model" if judges else "language model"
    measured = judges and run.evaluation is not None
    parts = _measured(run, run.evaluation) if measured else {}
    parts["Training"] = _training(run)
    parts["Data"] = _data(run)
    if measured:
        parts["Worst mistakes"] = _mistakes(run)
    parts["How it was made"] = _making(run)
    parts |= _other_figures(run)
    name = run.path.resolve().name
    header = tag("header", tag("p", f"rmjax {kind}", class_="kind"), tag("h1", name))
    top = _top(run, run.evaluation) if measured else _top_without_judgements(run)
    sections = [section(title, content) for title, content in parts.items()]
    return page(f"{name}: {kind}", header, top, contents(list(parts)), *sections)


def _top_without_judgements(run: RunFiles) -> Html:
    """The first lines of a run that is not finished, or of a language model."""
    if run.evaluation is None:
        last = f"the last logged step is {run.metrics[-1]['step']:,}" if run.metrics else "no step was logged"
        return paragraph(f"Not finished: evaluation.json is missing, {last}. The same command resumes it.", "warning")
    result = run.evaluation
    tiles = [
        report_parts.tile("loss", f"{result['loss']:.3f}", "nats per token"),
        report_parts.tile("perplexity", f"{result['perplexity']:.2f}", "e to the power of the loss"),
        report_parts.tile("accuracy", percent(result["accuracy"]), "of next tokens"),
        report_parts.tile("demonstrations", f"{result['demonstrations']:,}", "held out, for these numbers"),
    ]
    return joined([paragraph(f"{run.path}.", "lead"), tag("div", *tiles, class_="tiles")], "\n")


def _top(run: RunFiles, result: Metrics) -> Html:
    """The verdict, what was measured on what, and the numbers to know first."""
    heads = measured_heads(result)
    verdicts = [_named(result, name, verdict(head)) for name, head in heads.items()]
    verdicts += [f"{name}: no data to judge it by." for name, head in result["heads"].items() if head is None]
    sizes = ", ".join(_named(result, name, f"{head['prompts']:,} prompts") for name, head in heads.items())
    parameters = result.get("parameters")
    model = f"{parameters['total']:,} parameters" if parameters else "the number of parameters was not recorded"
    facts = paragraph(f"{run.path}. Held out: {result['data']}, {sizes}. The model: {model}.", "lead")
    numbers = _each(result, lambda _, head: joined([report_parts.tiles(head), report_parts.scale(head)]))
    return joined([facts, *(paragraph(text, "verdict") for text in verdicts), numbers], "\n")


def _measured(run: RunFiles, result: Metrics) -> dict[str, Html]:
    """The sections about what was measured."""
    heads = measured_heads(result)
    rows = [("accuracy", *(report_parts.accuracy(head) for head in heads.values()))]
    rows += [(label, *(show(head) for head in heads.values())) for label, show in NUMBERS]
    return {
        "Where it is right": _each(result, lambda _, head: report_parts.breakdowns(head)),
        "Heads and domains": _domains(result),
        "Scores": _each(result, lambda name, _: _figure(run, f"rewards-{name}", REWARDS)),
        "Calibration": _each(result, lambda name, head: _calibration(run, name, head)),
        "All numbers": joined([table(("", *heads), rows, "l" + "w" * len(heads)), paragraph(DASH, "note")], "\n"),
    }


def _each(result: Metrics, content: Callable[[str, Metrics], Html]) -> Html:
    """The same of every head, under its name where there are several."""
    blocks: list[Html] = []
    for name, head in measured_heads(result).items():
        blocks += [tag("h3", name)] if len(result["heads"]) > 1 else []
        blocks.append(content(name, head))
    return joined(blocks, "\n")


def _named(result: Metrics, name: str, text: str) -> str:
    return f"{name}: {text}" if len(result["heads"]) > 1 else text


def _domains(result: Metrics) -> Html:
    blocks = []
    if "matrix" in result:
        blocks.append(report_parts.matrix(result["matrix"]))
    else:
        blocks.append(absent("No table of heads on data for others: the held-out data carry one label, or none."))
    if "agreement" in result:
        blocks.append(report_parts.agreement(result["agreement"]))
    else:
        blocks.append(absent("No agreement of heads: the model has one."))
    if "gate" in result:
        blocks.append(report_parts.gate(result["gate"]))
    else:
        blocks.append(absent("No gate between heads: the run fitted none."))
    return joined(blocks, "\n")


def _calibration(run: RunFiles, name: str, head: Metrics) -> Html:
    if head["calibration"] is None:
        numbers = absent(f"evaluation.json holds no calibration: {MEASURE}.")
    else:
        numbers = report_parts.reliability(head["calibration"])
    return joined([_figure(run, f"reliability-{name}", RELIABILITY), numbers], "\n")


def _figure(run: RunFiles, name: str, caption: str) -> Html:
    path = run.figures.get(name)
    return figure(path, caption) if path else absent(f"There is no figures/{name}.png.")


def _training(run: RunFiles) -> Html:
    blocks = [_figure(run, "training", TRAINING)]
    points = [row for row in run.metrics if "validation_loss" in row]
    if points:
        head = ("Step", "Validation loss", "Validation accuracy")
        rows = [
            (f"{row['step']:,}", f"{row['validation_loss']:.3f}", f"{100 * row['validation_accuracy']:.1f} %")
            for row in points
        ]
        blocks.append(details("Validation set by step", table(head, rows, "lrr")))
    else:
        blocks.append(absent("metrics.jsonl holds no validation."))
    if run.packing is None:
        blocks.append(absent("packing.json is missing."))
    else:
        packing = run.packing
        blocks.append(
            paragraph(
                f"Batches of {packing['rows']:,} × {packing['row_length']:,} tokens (rows × length), "
                f"{100 * packing['padding']:.1f} % of them padding; computing every prompt once saves a factor of "
                f"{packing['sharing']:.2f}.",
                "note",
            )
        )
    return joined([*blocks, _first_stage(run)], "\n")


def _first_stage(run: RunFiles) -> Html:
    """The SFT that a run did itself, or where its weights come from."""
    if run.config["init"] != "sft":
        return paragraph(f"Initial weights: {run.config['init']}.")
    if not (run.path / "sft" / "config.json").is_file():
        return absent("The SFT stage (sft/) is missing.")
    sft = read_run(run.path / "sft")
    if sft.evaluation is None:
        return absent("The SFT stage (sft/) is not finished.")
    loss, perplexity = sft.evaluation["loss"], sft.evaluation["perplexity"]
    text = f"Loss {loss:.3f} nats per token on held-out demonstrations, perplexity {perplexity:.2f}."
    return joined([tag("h3", "SFT, the stage before"), paragraph(text), _figure(sft, "training", TRAINING)], "\n")


def _data(run: RunFiles) -> Html:
    if run.audit is None:
        return absent("data_audit.json is missing; only runs of reward models have one.")
    return report_data.data_audit(run.audit)


def _mistakes(run: RunFiles) -> Html:
    if run.mistakes is None:
        return absent(f"mistakes.jsonl is missing: {MEASURE}.")
    if not run.mistakes:
        return paragraph("None: every pair is in the raters' order or scored alike.")
    text = "The pairs that the model orders most strongly against the raters, one of a comparison. "
    return joined([paragraph(text + "The raters may be wrong."), report_parts.mistakes(run.mistakes)], "\n")


def _making(run: RunFiles) -> Html:
    if run.environment is None:
        made = absent("environment.json is missing: the command, the versions and the devices are not known.")
    else:
        made = joined([report_data.command(run.environment), report_data.environment(run.environment)], "\n")
    return joined([made, tag("h3", "Configuration"), report_data.configuration(run.config)], "\n")


def _other_figures(run: RunFiles) -> dict[str, Html]:
    """The figures that no section above shows."""
    shown = measured_heads(run.evaluation) if run.evaluation is not None and "heads" in run.evaluation else ()
    known = {"training", *(f"{kind}-{head}" for kind in ("rewards", "reliability") for head in shown)}
    others = [figure(path, name) for name, path in run.figures.items() if name not in known]
    return {"Other figures": joined(others, "\n")} if others else {}
