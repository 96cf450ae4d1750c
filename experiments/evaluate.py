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
from typing import TYPE_CHECKING, Any

from absl import flags

from rmjax.cli import checkpoint_flags, runtime, script
from rmjax.data.comparisons import Comparison
from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation import mistakes
from rmjax.evaluation.summary import comparison_summary, summary

if TYPE_CHECKING:
    from rmjax.scoring.reward_model import RewardModel
    from rmjax.stages.evaluation import Evaluation

SHOWN = 3  # mistakes on the console


def main() -> None:
    from rmjax.scoring.gate import GatedModel
    from rmjax.stages.evaluation import evaluate_model
    from rmjax.training.run import write_json, write_text

    arguments = flags.FLAGS
    output = Path(arguments.output) if arguments.output else None
    if output and not output.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    notes: collections.Counter[str] = collections.Counter()
    comparisons = load_comparisons(arguments.data, "test", manual_dir=arguments.manual_dir, notes=notes)
    print(*(f"{note}: {count:,}" for note, count in notes.items()), sep="\n", end="\n\n" if notes else "")
    validation = read_validation(comparisons) if arguments.validation else []
    model = choose_member(validation) if arguments.combine == "best" else checkpoint_flags.load_checkpoint()
    compares_gate = isinstance(model, GatedModel) and all(c.head in model.model.heads for c in comparisons)
    evaluation = evaluate_model(
        model,
        comparisons,
        validation,
        bootstrap=arguments.bootstrap,
        seed=arguments.seed,
        mistakes=arguments.mistakes,
        gate=model if compares_gate else None,
    )
    for head in evaluation.unfitted:
        print(f"warning: --validation holds no pair to fit the temperature of the head {head!r} on", file=sys.stderr)
    result, worst = evaluation.metrics, evaluation.mistakes
    checkpoint_flags.report_truncation(evaluation.cut)
    if arguments.against:
        result["against"] = against(comparisons, evaluation, model.heads)
    print(summary(result))
    if worst:
        print("\nWorst mistakes:", *map(mistakes.as_text, worst[:SHOWN]), sep="\n\n")
    checkpoint = ",".join(arguments.checkpoint)
    if arguments.against:
        print("", comparison_summary(result["against"], checkpoint, arguments.against), sep="\n")
    if output:
        write_json(output, {"data": arguments.data, "notes": dict(notes), "checkpoint": checkpoint, **result})
        if arguments.mistakes:
            write_text(output.with_suffix(".mistakes.jsonl"), mistakes.as_lines(worst))


def read_validation(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Reads the comparisons of --validation; warns of prompts that `comparisons` have too."""
    arguments = flags.FLAGS
    validation = load_comparisons(arguments.validation, "validation", manual_dir=arguments.manual_dir)
    if shared := len({c.prompt for c in validation} & {c.prompt for c in comparisons}):
        print(
            f"warning: {shared} prompts of --validation={arguments.validation} are also in --data={arguments.data}: "
            "the calibration at the fitted temperature is too good to be true",
            file=sys.stderr,
        )
    return validation


def choose_member(validation: Sequence[Comparison]) -> RewardModel:
    """Returns the member with the highest accuracy on the validation data.

    Raises:
        InputError: there are no validation data.
    """
    from rmjax.stages.evaluation import best_member

    if not validation:
        raise InputError("--combine=best chooses by accuracy on --validation: name comparisons for it")
    members = checkpoint_flags.load_members()
    best, accuracy = best_member(members, validation, flags.FLAGS.seed)
    print(f"best on --validation: {flags.FLAGS.checkpoint[best]}, {accuracy:.1%}\n")
    return members[best]


def against(comparisons: Sequence[Comparison], evaluation: Evaluation, heads: Sequence[str]) -> dict[str, Any]:
    """Returns the comparison with the checkpoint --against."""
    from rmjax.scoring.checkpoint import is_hugging_face, load
    from rmjax.stages.evaluation import compare_models

    arguments = flags.FLAGS
    # What the flags state for a Hugging Face folder applies to this checkpoint too if it is one.
    stated = checkpoint_flags.stated_for_hub() if is_hugging_face(Path(arguments.against)) else {}
    other = load(arguments.against, verify=arguments.verify, **stated)
    resampling = {"bootstrap": arguments.bootstrap, "seed": arguments.seed}
    compared, cut = compare_models(comparisons, evaluation.scores, heads, other, **resampling)
    truncation = checkpoint_flags.report_truncation(cut, arguments.against)
    return {"checkpoint": arguments.against, **compared, "truncation": truncation}


if __name__ == "__main__":
    runtime.prepare_process()
    checkpoint_flags.define()
    flags.DEFINE_string("data", None, "Comparisons by name: gold/helpful, jsonl:FILE, hh_rlhf/helpful-base, ...")
    flags.DEFINE_string("validation", None, "Comparisons to fit the temperature on; without them, there is none.")
    flags.DEFINE_string("against", None, "Another checkpoint, as in --checkpoint, to test the difference to.")
    flags.DEFINE_string("output", None, "JSON file for the result; without it, it is only printed.")
    flags.DEFINE_string("manual_dir", "", "Folder with HH-RLHF's files; empty: download.")
    flags.DEFINE_integer("bootstrap", 2000, "Resamples of the prompts for the intervals.")
    flags.DEFINE_integer("mistakes", mistakes.COUNT, "Worst mistakes to write next to --output.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Of the resampling.")
    flags.mark_flags_as_required(["data"])
    script.run(main)
