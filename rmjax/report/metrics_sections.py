"""What a report says of a head, of the data and of single judgements: numbers and texts -> pieces of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rmjax.evaluation.metrics import CHANCE, Metrics
from rmjax.evaluation.text_table import percent
from rmjax.report.html import Html, absent, details, joined, paragraph, table, tag

Json = dict[str, Any]

BREAKDOWNS = {
    "subsets": ("Subset", "the data name none"),
    "strengths": ("Strength of the preference", "the data state none"),
    "turns": ("User turns of the prompt", "it was not measured"),
    "length_differences": ("Characters that the winner has more", "it was not measured"),
}
OPEN = 5  # worst mistakes that are shown without a click


def tiles(head: Metrics) -> Html:
    """The numbers to know first, each with the mark that stands for it in `scale`."""
    rule = head["length_rule"]
    shown = [
        tile("accuracy", percent(head["accuracy"]), f"{interval(head)}; {head['pairs']:,} pairs", "dot"),
        tile(
            "length alone",
            percent(head["length_rule_accuracy"]),
            f"the {rule} wins; “the longer wins” gets {percent(head['length_baseline'])}",
            "length",
        ),
    ]
    if head["ceiling"] is None:
        shown.append(tile("ceiling", "unknown", "the data carry no true reward", "ceiling"))
    else:
        gain = f"a judge who knows the true reward; {percent(head['ceiling_gain'])} of the gain over guessing"
        shown.append(tile("ceiling", percent(head["ceiling"]), gain, "ceiling"))
    shown.append(
        tile("calibration error", percent(head["calibration_error"]), "0 % where probabilities are frequencies")
    )
    shown.append(tile("loss", f"{head['loss']:.3f}", "nats per pair; chance is 0.693"))
    return tag("div", *shown, class_="tiles")


def tile(name: str, value: str, note: str, mark: str = "") -> Html:
    """A large number, what it is, and what to read it by."""
    key = [tag("i", class_=f"key {mark}")] if mark else []
    note = note.replace(" %", "\u00a0%")
    return tag("div", tag("span", *key, name, class_="name"), tag("b", value), tag("span", note), class_="tile")


def accuracy(part: Metrics) -> str:
    """An accuracy with its interval and number of pairs, in one line."""
    return f"{percent(part['accuracy'])} ({interval(part)}; {part['pairs']:,} pairs)"


def interval(part: Metrics) -> str:
    """The interval of an accuracy in words."""
    return f"95 % interval {ends(part)}"


def scale(head: Metrics) -> Html:
    """A line from chance or below to 100 % on which accuracy, length alone and ceiling stand."""
    marks = {"length": head["length_rule_accuracy"], "ceiling": head["ceiling"]}
    least = lowest([head, *({"accuracy": mark, "accuracy_ci95": None} for mark in marks.values())])
    ticks = [step / 10 for step in range(round(10 * least), 11)]
    lines = [vertical(place(tick, least), "axis", 10, 26) for tick in ticks]
    anchors = ["start", *["middle"] * (len(ticks) - 2), "end"]
    lines += [
        tag("text", percent_short(tick), x=place(tick, least), y="42", text_anchor=anchor)
        for tick, anchor in zip(ticks, anchors, strict=True)
    ]
    lines += [vertical(place(mark, least), name, 8, 28) for name, mark in marks.items() if mark is not None]
    return drawing(head, least, 18, 46, lines, "accuracy, length alone and ceiling on one scale")


def strip(part: Metrics, least: float) -> Html:
    """An accuracy and its interval on a line from `least` to 1, with a mark at chance."""
    return drawing(part, least, 8, 16, [vertical(place(CHANCE, least), "chance", 1, 15)], "")


def drawing(part: Metrics, least: float, middle: int, height: int, more: Sequence[Html], label: str) -> Html:
    """The interval and the dot of an accuracy on a line, above other elements."""
    y = str(middle)
    shapes = [tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="axis"), *more]
    if part["accuracy_ci95"]:
        low, high = (place(bound, least) for bound in part["accuracy_ci95"])
        shapes.append(tag("line", x1=low, x2=high, y1=y, y2=y, class_="range"))
    if part["accuracy"] is not None:
        shapes.append(tag("circle", cx=place(part["accuracy"], least), cy=y, r="4.5", class_="dot"))
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return tag("svg", *shapes, width="100%", height=str(height), **named)


def vertical(x: str, kind: str, top: int, bottom: int) -> Html:
    """A vertical line of a class of the style sheet."""
    return tag("line", x1=x, x2=x, y1=str(top), y2=str(bottom), class_=kind)


def place(value: float, least: float) -> str:
    """Where a fraction stands on a line from `least` to 1, in per cent of its width."""
    return f"{100 * (value - least) / (1 - least):.2f}%"


def percent_short(value: float) -> str:
    """A fraction in whole per cent."""
    return f"{100 * value:.0f} %"


def lowest(parts: Sequence[Metrics]) -> float:
    """The left end of a line for these accuracies: the multiple of 10 % below all of them and below chance."""
    values = [part["accuracy"] for part in parts if part["accuracy"] is not None]
    values += [part["accuracy_ci95"][0] for part in parts if part["accuracy_ci95"]]
    return max(0.0, math.floor(10 * min([*values, CHANCE]) - 0.25) / 10)


def breakdowns(head: Metrics) -> Html:
    """Every breakdown of a head as a table with strips on one scale, or that there is none."""
    found = {kind: head.get(kind) or {} for kind in BREAKDOWNS}
    least = lowest([part for parts in found.values() for part in parts.values()])
    blocks = []
    for kind, (title, why) in BREAKDOWNS.items():
        if found[kind]:
            blocks.append(accuracy_table(title, found[kind], least))
        else:
            blocks.append(absent(f"No accuracy by {title[0].lower()}{title[1:]}: {why}."))
    return joined(blocks, "\n")


def accuracy_table(title: str, parts: Mapping[str, Metrics], least: float) -> Html:
    """Accuracies with their pairs, intervals and strips, one below the other."""
    rows = [
        (name.replace("_", " "), f"{part['pairs']:,}", percent(part["accuracy"]), ends(part), strip(part, least))
        for name, part in parts.items()
    ]
    head = (title, "Pairs", "Accuracy", "95 % interval", f"{percent_short(least)} to 100 %; dotted: guessing")
    return table(head, rows, "lrrrw", "strips")


def ends(part: Metrics, name: str = "accuracy") -> str:
    """The ends of an interval in per cent."""
    bounds = part[f"{name}_ci95"]
    return "none" if bounds is None else " to ".join(f"{100 * bound:.1f}" for bound in bounds)


def matrix(measured: Mapping[str, Mapping[str, Metrics]]) -> Html:
    """Every head on the data of every label."""
    labels = list(next(iter(measured.values())))
    pairs = {label: next(iter(measured.values()))[label]["pairs"] for label in labels}
    head = ("Head", *(f"on data for {label} ({pairs[label]:,} pairs)" for label in labels))
    rows = [
        (
            name,
            *(
                joined([tag("b", percent(p["accuracy"])), " ", tag("span", interval(p), class_="who")])
                for p in parts.values()
            ),
        )
        for name, parts in measured.items()
    ]
    return table(head, rows, "l" + "w" * len(labels), "wide")


def agreement(measured: Mapping[str, Mapping[str, Metrics]]) -> Html:
    """How far the heads want the same."""
    rows = []
    for one, others in measured.items():
        for other, part in others.items():
            alike = (percent(part["order_alike"]), ends(part, "order_alike"))
            correlations = (number(part["pearson"]), number(part["spearman"]))
            rows.append((f"{one}, {other}", f"{part['pairs']:,}", *alike, *correlations))
    head = ("Heads", "Pairs of responses", "Ordered alike", "95 % interval", "Pearson", "Spearman")
    return table(head, rows, "lrrrrr")


def gate(measured: Json) -> Html:
    """The one score that a gate makes of two heads, on all data and on those of each label."""
    text = (
        f"One score of both heads: {measured['safety']} judges where refusing is safe with more than "
        f"{percent(measured['prompt_threshold'])}, or the response with less than "
        f"{percent(measured['response_threshold'])}; {measured['helpful']} judges elsewhere. The thresholds were "
        f"fitted on {measured['source']}."
    )
    parts = {"all": measured, **measured["labels"]}
    numbers = accuracy_table("The gate, on data for", parts, lowest(list(parts.values())))
    verdict = [paragraph(measured["verdict"])] if "verdict" in measured else []  # a run of an earlier version has none
    return joined([*verdict, numbers, paragraph(text, "note")], "\n")


def reliability(measured: Json) -> Html:
    """The calibration of a head: errors, and its bins behind a click."""
    columns = {"as it stands": measured}
    if measured["tempered"]:
        columns[f"at temperature {measured['tempered']['temperature']:.3g}"] = measured["tempered"]
    rows = [
        ("Calibration error", *(percent(column["calibration_error"]) for column in columns.values())),
        ("Brier score (a coin: 0.250)", *(number(column["brier"]) for column in columns.values())),
        ("Loss (chance: 0.693)", *(number(column["loss"]) for column in columns.values())),
    ]
    numbers = table(("", *columns), rows, "l" + "r" * len(columns))
    fit = measured["tempered"]
    if fit is None:
        note = paragraph("No temperature was fitted: the validation data had no pair to fit it on.", "note")
    else:
        bound = "" if fit["bound"] is None else f" It stopped at its {fit['bound']} bound and is no optimum."
        few = ""
        if fit.get("too_few_pairs"):  # a run of an earlier version does not have it
            low, high = fit["temperature_ci95"]
            few = f" They are too few to fit a temperature: its 95 % interval is {low:.3g} to {high:.3g}."
        note = paragraph(
            f"The temperature was fitted on {fit['fitted_pairs']:,} pairs of validation data.{bound}{few}", "note"
        )
    bins = [
        (
            f"{100 * bin['low']:.0f} to {100 * bin['high']:.0f} %",
            f"{bin['pairs']:,}",
            percent(bin["confidence"]),
            percent(bin["accuracy"]),
        )
        for bin in measured["bins"]
    ]
    head = ("Confidence", "Pairs", "Mean confidence", "Accuracy")
    return joined([numbers, note, details("The bins, as it stands", table(head, bins, "lrrr"))])


def number(value: float | None) -> str:
    """Three decimals; a dash where undefined."""
    return "-" if value is None else f"{value:.3f}"


def mistakes(records: Sequence[Json]) -> Html:
    """The worst mistakes in full, the first few at once and the others behind a click."""
    articles = [_mistake(place, record) for place, record in enumerate(records, start=1)]
    rest = [details(f"{len(articles) - OPEN} more", *articles[OPEN:])] if len(articles) > OPEN else []
    return joined([*articles[:OPEN], *rest], "\n")


def _mistake(place: int, record: Json) -> Html:
    better, worse = record["scores"]
    names = [f"{name} {record[name]}" for name in ("head", "subset", "strength", "origin") if record[name]]
    title = f"{place}. Wrong by {-record['gap']:.2f}"
    chance = f"P(the raters' choice) {100 * record['probability']:.2g} %"
    turns = [_turn(message["role"], message["content"], "turn text") for message in record["prompt"]]
    both = tag(
        "div",
        _turn(f"preferred by the raters, scored {better:.2f}", record["winner"], "text"),
        _turn(f"preferred by the model, scored {worse:.2f}", record["loser"], "text"),
        class_="two",
    )
    note = paragraph(", ".join([chance, *names]), "note")
    return tag("article", tag("h3", title), note, *turns, both)


def _turn(who: str, text: str, kind: str) -> Html:
    return tag("div", tag("span", who, class_="who"), text or tag("i", "(empty)"), class_=kind)
