"""Summary of an evaluation for the console: a table of metrics, breakdowns, and verdicts."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence

from rmjax.evaluation.bootstrap import FEW_PROMPTS
from rmjax.evaluation.metrics import Metrics
from rmjax.evaluation.text_table import comparison_word, interval_text, number, percent, points, text_table

MOST_PARTS = 8  # subsets on the console; with more, the verdict would leave the screen


def summary(result: Metrics) -> str:
    """Returns the summary of a result of `evaluate_heads` or `evaluate_scores`."""
    heads = measured_heads(result)
    rows = [("accuracy", [_accuracy_cell(head) for head in heads.values()])]
    for kind in ("subsets", "strengths"):
        parts = [head.get(kind, {}) for head in heads.values()]
        sizes: collections.Counter[str] = collections.Counter()
        for each in parts:
            sizes.update({name: part["pairs"] for name, part in each.items()})
        # One more subset takes the line that would say "1 more".
        most = MOST_PARTS if len(sizes) > MOST_PARTS + 1 else len(sizes)
        shown = {name for name, _ in sizes.most_common(most)}
        for name in (name for name in sizes if name in shown):
            cells = [each.get(name) for each in parts]
            rows.append((f"  {name}", ["-" if cell is None else _accuracy_cell(cell) for cell in cells]))
        if more := len(sizes) - len(shown):
            rows.append((f"  {more} more {kind}", ["in evaluation.json"] * len(parts)))
    rows += [(label, [show(head) for head in heads.values()]) for label, show in NUMBERS]
    rows = [row for row in rows if any(cell != "-" for cell in row[1])]
    titles = [("", list(heads))] if any(heads) else []
    blocks = [text_table([[label, *cells] for label, cells in [*titles, *rows]])]
    if "matrix" in result:
        blocks.append(_matrix_table(result["matrix"]))
    if "agreement" in result:
        blocks.append(_agreement_text(result["agreement"]))
    if "gate" in result:
        blocks.append(_gate_text(result["gate"]))
    if finer := [line for name, head in heads.items() for line in _finer(name, head)]:
        blocks.append("\n".join(finer))
    verdicts = [_named(name, verdict(head)) for name, head in heads.items()]
    without = [f"{name}: no data." for name, head in result.get("heads", {}).items() if head is None]
    blocks.append("\n".join([*verdicts, *without]))
    return "\n\n".join(blocks)


def measured_heads(result: Metrics) -> dict[str, Metrics]:
    """Returns the metrics of every head that has data, by name, with its `calibration` (None if there is none)."""
    measured = result.get("calibration", {})
    return {
        name: {**head, "calibration": measured.get(name)}
        for name, head in result.get("heads", {"": result}).items()
        if head is not None
    }


def comparison_summary(compared: Metrics, name: str, other: str) -> str:
    """Returns the summary of a result of `compare.compare`, of the checkpoints `name` and `other`."""
    columns = {"all pairs": compared, **compared.get("labels", {})}
    rows = [
        ("", *columns),
        (name, *(percent(column["accuracy"]) for column in columns.values())),
        (other, *(percent(column["other_accuracy"]) for column in columns.values())),
        ("difference, points", *map(_difference, columns.values())),
        ("same on", *(f"{percent(column['agree'])} of {column['pairs']} pairs" for column in columns.values())),
        ("right where the other is not", *(f"{column['better']}, {column['worse']}" for column in columns.values())),
        ("McNemar's p, were pairs independent", *(f"{column['mcnemar_p']:.2g}" for column in columns.values())),
    ]
    if compared["difference_ci95"] is None:
        verdict = "Without an interval, so chance cannot be excluded."
    else:
        word = comparison_word(compared["difference_ci95"])
        verdict = f"{name} is {word} {other} on these pairs: {_difference(compared, ' points')}."
    return f"{text_table(rows)}\n\n{verdict}"


def seeds_summary(compared: Metrics, names: Sequence[str], others: Sequence[str]) -> str:
    """Returns the summary of a result of `compare_seeds`, of the checkpoints `names` and `others`, paired by seed."""
    accuracies = zip(names, others, compared["accuracy"], compared["other_accuracy"], strict=True)
    rows = [
        ("checkpoint", "accuracy", "against", "accuracy", "difference, points"),
        *((name, percent(one), other, percent(two), points(one - two)) for name, other, one, two in accuracies),
    ]
    columns = {"all pairs": compared, **compared.get("labels", {})}
    lines = [f"{label}: {_difference(each, ' points')}, {each['pairs']} pairs" for label, each in columns.items()]
    spread = f"Standard deviation over seeds {100 * compared['seed_sd']:.1f} points; {compared['prompts']} prompts."
    if compared["difference_ci95"] is None:  # fewer than two prompts
        return f"{text_table(rows)}\n\nWithout an interval, so chance cannot be excluded."
    word = comparison_word(compared["difference_ci95"]).capitalize()
    verdict = f"{word} --against over {len(names)} seeds and these prompts: {_difference(compared, ' points')}."
    return "\n\n".join([text_table(rows), "\n".join(lines), f"{verdict} {spread}"])


def _difference(compared: Metrics, unit: str = "") -> str:
    interval = interval_text(compared["difference_ci95"], " (95 % interval {})", form="+.1f")
    return f"{points(compared['difference'])}{unit}{interval}"


def _gate_text(gate: Metrics) -> str:
    labels = "".join(f"; {label} {_accuracy_cell(cell)}" for label, cell in gate["labels"].items())
    return (
        f"One score by the gate: {_accuracy_cell(gate)}{labels}. Safety judges if refusing is safe with more than "
        f"{percent(gate['prompt_threshold'])}, or the response with less than {percent(gate['response_threshold'])}."
        + (f"\n{gate['verdict']}" if "verdict" in gate else "")  # results of earlier versions have no verdict
    )


def _matrix_table(matrix: dict[str, dict[str, Metrics]]) -> str:
    labels = next(iter(matrix.values()))
    titles = [f"{label} ({part['pairs']} pairs{_few(part)})" for label, part in labels.items()]
    rows = [["accuracy of head, on data for", *titles]]
    for head, parts in matrix.items():
        cells = [percent(part["accuracy"]) + interval_text(part["accuracy_ci95"], " ({})") for part in parts.values()]
        rows.append([f"  {head}", *cells])
    return text_table(rows)


def _agreement_text(agreement: dict[str, dict[str, Metrics]]) -> str:
    lines = [
        f"{one} and {other} order {percent(part['order_alike'])} of {part['pairs']} pairs of responses alike; "
        f"correlation within a prompt {number(part['pearson'])}"
        for one, row in agreement.items()
        for other, part in row.items()
    ]
    return "\n".join(lines)


def _finer(name: str, head: Metrics) -> list[str]:
    """Returns a line for each breakdown whose entries are shown as one number."""
    kinds = {
        "turns": "% right by user turns of the prompt",
        "length_differences": "% right by characters that the winner has more",
    }
    lines = []
    for kind, title in kinds.items():
        if parts := head.get(kind):
            cells = [f"{label}: {100 * part['accuracy']:.1f}{_few(part)}" for label, part in parts.items()]
            lines.append(_named(name, f"{title}: {'; '.join(cells)}"))
    return lines


def _named(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def verdict(head: Metrics) -> str:
    """Returns the verdict on a head: if it is better than judging by length alone, and if its accuracy is possible."""
    rule = f"judging by length alone (the {head['length_rule']} wins)"
    gain = f"{points(head['length_gain'])} points"
    if head["length_gain_ci95"] is None:
        text = f"{gain} against {rule}, without an interval, so chance cannot be excluded."
    else:
        word = comparison_word(head["length_gain_ci95"]).capitalize()
        interval = interval_text(head["length_gain_ci95"], ", 95 % interval {}", form="+.1f")
        text = f"{word} {rule}: {gain}{interval}."
        if head["prompts"] < FEW_PROMPTS:
            text += f" With only {head['prompts']} prompts the interval itself is rough."
    interval, ceiling = head["accuracy_ci95"], head["ceiling"]
    if interval is not None and ceiling is not None and interval[0] > ceiling:
        text += " The accuracy is above the ceiling: look for a leak."
    return text


def _few(part: Metrics) -> str:
    """Returns a mark if the interval is rough; results of earlier versions have no number of prompts here."""
    return ", few prompts" if part.get("prompts", FEW_PROMPTS) < FEW_PROMPTS else ""


def _accuracy_cell(part: Metrics) -> str:
    if part["accuracy"] is None:
        return "no untied pair"
    interval = interval_text(part["accuracy_ci95"], ", 95 % interval {}")
    return f"{percent(part['accuracy'])} ({part['pairs']} pairs{_few(part)}{interval})"


def _tau_cell(head: Metrics) -> str:
    measured = head.get("rankings")
    if not measured:
        return "-"
    interval = interval_text(measured["kendall_tau_b_ci95"], ", 95 % interval {}", form=".3f", scale=1.0)
    return f"{number(measured['kendall_tau_b'])} ({measured['comparisons']} rankings{interval})"


def _top1_cell(head: Metrics) -> str:
    measured = head.get("rankings")
    return f"{percent(measured['top1'])} (guessing {percent(measured['top1_guessing'])})" if measured else "-"


def _unsafe_cell(head: Metrics) -> str:
    measured = head.get("unsafe")
    if not measured or measured["recall"] is None:
        return "-"
    found = f"{percent(measured['recall'])} of {measured['unsafe']} score below 0"
    return f"{found}; area under the ROC {number(measured['auc'])}"


def _tempered_cell(head: Metrics) -> str:
    tempered = head["calibration"] and head["calibration"]["tempered"]
    if not tempered:
        return "-"
    bound = "" if tempered["bound"] is None else f", stopped at its {tempered['bound']} bound"
    fit = f"T = {tempered['temperature']:.3g}, fitted on {tempered['fitted_pairs']} pairs{bound}"
    if tempered.get("too_few_pairs"):  # results of earlier versions do not have it
        fit += ": too few pairs to fit a temperature"
        fit += interval_text(tempered["temperature_ci95"], ", 95 % interval {}", form=".3g", scale=1.0)
    return f"{percent(tempered['calibration_error'])} ({fit})"


def _brier_cell(head: Metrics) -> str:
    if not head["calibration"]:
        return "-"
    tempered = head["calibration"]["tempered"]
    at_temperature = f", {number(tempered['brier'])} at the fitted temperature" if tempered else ""
    return f"{number(head['calibration']['brier'])}{at_temperature}"


# Rows of a head's metrics: label, and function of the metrics that returns the cell.
NUMBERS: tuple[tuple[str, Callable[[Metrics], str]], ...] = (
    ("length-only baseline (longer wins)", lambda head: percent(head["length_baseline"])),
    ("length-balanced accuracy", lambda head: percent(head["length_balanced_accuracy"])),
    ("ceiling", lambda head: percent(head["ceiling"])),
    ("share of the ceiling's gain", lambda head: percent(head["ceiling_gain"])),
    ("Kendall's tau-b, K of 3 or more", _tau_cell),
    ("top response right, K of 3 or more", _top1_cell),
    ("unsafe responses found", _unsafe_cell),
    ("loss (chance 0.693)", lambda head: number(head["loss"])),
    ("mean gap, winner minus loser", lambda head: number(head["mean_gap"])),
    ("calibration error", lambda head: percent(head["calibration_error"])),
    ("  at the fitted temperature", _tempered_cell),
    ("Brier score (chance 0.250)", _brier_cell),
    ("reward-length correlation", lambda head: number(head["reward_length_correlation"])),
    ("reward, mean and std", lambda head: f"{head['reward_mean']:.3f}, {head['reward_std']:.3f}"),
    ("prompts", lambda head: str(head["prompts"])),
    ("pairs tied by the raters", lambda head: str(head["ties"] or "-")),
    ("accuracy, these as half", lambda head: percent(head.get("accuracy_with_ties")) if head["ties"] else "-"),
    ("pairs tied by the model", lambda head: percent(head["model_ties"] / head["pairs"] or None)),
)
