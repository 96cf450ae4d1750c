"""Evaluates a trained reward model on comparisons, alone or against another.

    python experiments/evaluate.py --checkpoint=runs/helpful --data=gold/helpful --output=RESULT.json

`--validation` names comparisons to fit a temperature on, for calibrated probabilities: what the model neither learned
from nor is reported on. `--against` names another checkpoint, scored on the same comparisons. The pairs that the model
orders most strongly against the raters are printed, three of them in full, and kept in RESULT.mistakes.jsonl.

With `--gate` the gate is also compared with its heads, where the comparisons say which of them they were made for.

Several checkpoints, joined by commas, are an ensemble: `--combine` says how their scores become one, or, as `best`,
that the one with the highest accuracy on `--validation` stands for all.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cli
import numpy as np
from absl import flags

from rmjax.data.comparisons import Comparison
from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation import mistakes
from rmjax.evaluation.breakdowns import Resampling
from rmjax.evaluation.calibration import Temperature, fit_temperatures
from rmjax.evaluation.compare import compare
from rmjax.evaluation.evaluate import evaluate_heads, json_safe
from rmjax.evaluation.gates import evaluate_gate
from rmjax.evaluation.pairs import own_columns, own_scores
from rmjax.evaluation.summary import comparison_summary, summary
from rmjax.scoring.checkpoint import is_hugging_face, load
from rmjax.scoring.gate import GatedModel
from rmjax.scoring.judge import Judge
from rmjax.scoring.reward_model import RewardModel
from rmjax.training.run import write_json, write_text

SHOWN = 3  # mistakes on the console


def main() -> None:
    arguments = flags.FLAGS
    output = Path(arguments.output) if arguments.output else None
    if output and not output.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    notes: collections.Counter[str] = collections.Counter()
    comparisons = load_comparisons(arguments.data, "test", manual_dir=arguments.manual_dir, notes=notes)
    print(*(f"{note}: {count:,}" for note, count in notes.items()), sep="\n", end="\n\n" if notes else "")
    validation = read_validation(comparisons) if arguments.validation else []
    model = best_member(validation) if arguments.combine == "best" else cli.load_checkpoint()
    heads = model.heads
    own_columns(comparisons, heads)  # an error here should not cost the time of scoring
    if validation and not model.link.has_odds:
        raise InputError(
            "--validation fits a temperature, but a difference of these scores gives no probability: leave it out"
        )
    temperatures = fitted(validation, model) if validation else {}
    scores, cut = model.score_comparisons(comparisons)
    result = evaluate_heads(
        comparisons,
        scores,
        heads,
        bootstrap=arguments.bootstrap,
        seed=arguments.seed,
        temperatures=temperatures,
        link=model.link.log_odds if model.link.has_odds else None,
    )
    result["truncation"] = cli.report_truncation(cut)
    worst = mistakes.worst_mistakes(comparisons, scores, heads, arguments.mistakes)
    if isinstance(model, GatedModel) and all(comparison.head in model.model.heads for comparison in comparisons):
        result["gate"] = gate_result(model, comparisons, scores)
    if arguments.against:
        result["against"] = against(comparisons, own_scores(comparisons, scores, heads))
    print(summary(result))
    if worst:
        print("\nWorst mistakes:", *map(mistakes.as_text, worst[:SHOWN]), sep="\n\n")
    if arguments.against:
        print("", comparison_summary(result["against"], ",".join(arguments.checkpoint), arguments.against), sep="\n")
    if output:
        about = {"data": arguments.data, "notes": dict(notes), "checkpoint": ",".join(arguments.checkpoint)}
        write_json(output, {**about, **result})
        if arguments.mistakes:
            write_text(output.with_suffix(".mistakes.jsonl"), mistakes.as_lines(worst))


def read_validation(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of --validation; warns of prompts that `comparisons` have too."""
    arguments = flags.FLAGS
    validation = load_comparisons(arguments.validation, "validation", manual_dir=arguments.manual_dir)
    if shared := len({c.prompt for c in validation} & {c.prompt for c in comparisons}):
        print(
            f"warning: {shared} prompts of --validation={arguments.validation} also stand in --data={arguments.data}: "
            "the calibration at the fitted temperature is too good to be true",
            file=sys.stderr,
        )
    return validation


def best_member(validation: Sequence[Comparison]) -> RewardModel:
    """The member with the highest accuracy on the validation data; of equally good ones the first.

    Raises:
        InputError: there are no validation data.
    """
    if not validation:
        raise InputError("--combine=best chooses by accuracy on --validation: name comparisons for it")
    members = cli.load_members()
    accuracies = []
    for member in members:
        results = evaluate_heads(
            validation, member.score_comparisons(validation).raw, member.heads, bootstrap=0, seed=flags.FLAGS.seed
        )["heads"]
        accuracies.append(np.mean([result["accuracy"] for result in results.values() if result]))
    print(f"best on --validation: {flags.FLAGS.checkpoint[int(np.argmax(accuracies))]}, {max(accuracies):.1%}\n")
    return members[int(np.argmax(accuracies))]


def fitted(validation: Sequence[Comparison], model: Judge) -> dict[str, Temperature]:
    """The temperature of each head; warns of a head that has nothing to fit it on."""
    scores = model.score_comparisons(validation).raw
    temperatures = fit_temperatures(validation, scores, model.heads, model.link.log_odds)
    for head in model.heads:
        if head not in temperatures:
            print(
                f"warning: --validation holds no pair to fit the temperature of the head {head!r} on", file=sys.stderr
            )
    return temperatures


def gate_result(model: GatedModel, comparisons: Sequence[Comparison], scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """The gate against its heads, which are scored for it, with the verdict."""
    by_gate = [score_Kx1[:, 0] for score_Kx1 in scores]
    by_head, heads = model.model.score_comparisons(comparisons).raw, model.model.heads
    resampling = Resampling(flags.FLAGS.bootstrap, flags.FLAGS.seed)
    # What the thresholds were fitted on is told where the gate was fitted.
    return json_safe(evaluate_gate(model.gate, comparisons, by_gate, by_head, heads, resampling, fitted={}))


def against(comparisons: Sequence[Comparison], scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """The comparison with the checkpoint --against, each model by the head that a comparison is judged by."""
    arguments = flags.FLAGS
    # What the flags state for a Hugging Face folder holds for this checkpoint too if it is one.
    stated = cli.stated_for_hub() if is_hugging_face(Path(arguments.against)) else {}
    other = load(arguments.against, verify=arguments.verify, **stated)
    own_columns(comparisons, other.heads)
    scored = other.score_comparisons(comparisons)
    other_scores = own_scores(comparisons, scored.raw, other.heads)
    compared = compare(comparisons, scores, other_scores, Resampling(arguments.bootstrap, arguments.seed))
    return {
        "checkpoint": arguments.against,
        **json_safe(compared),
        "truncation": cli.report_truncation(scored.cut, arguments.against),
    }


if __name__ == "__main__":
    cli.define_checkpoint()
    flags.DEFINE_string("data", None, "Comparisons by name: gold/helpful, jsonl:FILE, hh_rlhf/helpful-base, ...")
    flags.DEFINE_string("validation", None, "Comparisons to fit the temperature on; without them, there is none.")
    flags.DEFINE_string("against", None, "Another checkpoint, as in --checkpoint, to test the difference to.")
    flags.DEFINE_string("output", None, "JSON file for the result; without it, it is only printed.")
    flags.DEFINE_string("manual_dir", "", "Folder with HH-RLHF's files; empty: download.")
    flags.DEFINE_integer("bootstrap", 2000, "Resamples of the prompts for the intervals.")
    flags.DEFINE_integer("mistakes", mistakes.COUNT, "Worst mistakes to keep beside --output.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of the resampling.")
    flags.mark_flags_as_required(["data"])
    cli.run(main)
