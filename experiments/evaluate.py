"""Evaluation of a trained reward model on comparisons, alone or against another model.

    python experiments/evaluate.py --checkpoint=runs/helpful --data=gold/helpful --output=RESULT.json

`--validation` names comparisons to fit a temperature on, for calibrated probabilities. They must be neither training
data nor the data of the report. `--against` names another checkpoint, which is scored on the same comparisons. The
worst mistakes are the pairs that the model orders most strongly against the raters. Three are printed in full, and all
are written to RESULT.mistakes.jsonl. RESULT.outcomes.npz has the outcome on every pair. `--data=jsonl:-` is standard
input. With `--output=-` the result goes to standard output, alone, and the tables to standard error.

With the runs of several seeds, joined by commas, in `--checkpoint`, and those of the other model in the same order in
`--against`, the two models are compared by seed and by prompt. The interval of their difference is over both.

With `--gate` the gate is also compared with its heads, if the comparisons state the head that they were made for.

Several checkpoints, joined by commas, are an ensemble. `--combine` is the rule that combines their scores. With
`--combine=best`, only the checkpoint with the highest accuracy on `--validation` is evaluated.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from rmjax.cli import checkpoint_flags, reading_flags, runtime, script
from rmjax.cli.output import console_apart_from, write_result
from rmjax.data.comparisons import Comparison
from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation import mistakes
from rmjax.evaluation.summary import comparison_summary, seeds_summary, summary

if TYPE_CHECKING:
    from rmjax.scoring.reward_model import RewardModel
    from rmjax.stages.evaluation import Evaluation

SHOWN = 3  # number of mistakes on the console


def main() -> None:
    with console_apart_from(flags.FLAGS.output):
        evaluate()


def evaluate() -> None:
    """Evaluates the model of the flags, prints the tables, and writes the result."""
    from rmjax.stages.evaluation import evaluate_model, own_gate

    arguments = flags.FLAGS
    notes: collections.Counter[str] = collections.Counter()
    comparisons = load_comparisons(
        arguments.data, "test", manual_dir=arguments.manual_dir, notes=notes, reading=reading_flags.reading()
    )
    print(*(f"{note}: {count:,}" for note, count in notes.items()), sep="\n", end="\n\n" if notes else "")
    checkpoint = ",".join(arguments.checkpoint)
    about = {"data": arguments.data, "notes": dict(notes), "checkpoint": checkpoint}
    if len(arguments.against) > 1:
        result = against_seeds(comparisons)
        print(seeds_summary(result["against"], arguments.checkpoint, arguments.against))
        if arguments.output:
            write_result(arguments.output, {**about, **result})
        return
    validation = read_validation(comparisons) if arguments.validation else []
    model = choose_member(validation) if arguments.combine == "best" else checkpoint_flags.load_checkpoint()
    evaluation = evaluate_model(
        model,
        comparisons,
        validation,
        bootstrap=arguments.bootstrap,
        seed=arguments.seed,
        mistakes=arguments.mistakes,
        gate=own_gate(model, comparisons),
    )
    for head in evaluation.unfitted:
        print(f"warning: --validation holds no pair to fit the temperature of the head {head!r} on", file=sys.stderr)
    result, worst = evaluation.metrics, evaluation.mistakes
    checkpoint_flags.report_truncation(evaluation.cut)
    if arguments.against:
        result["against"] = against(comparisons, evaluation, model.heads)
    try:
        print(summary(result))
        if worst:
            print("\nWorst mistakes:", *map(mistakes.as_text, worst[:SHOWN]), sep="\n\n")
        if arguments.against:
            print("", comparison_summary(result["against"], checkpoint, arguments.against[0]), sep="\n")
    finally:  # also if the reader of what is printed has stopped
        if arguments.output:
            further = {
                ".outcomes.npz": evaluation.outcomes.to_bytes(),
                ".mistakes.jsonl": mistakes.as_lines(worst).encode(),
            }
            write_result(arguments.output, {**about, **result}, further)


def read_validation(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Returns the comparisons of --validation; warns of prompts that `comparisons` also have."""
    arguments = flags.FLAGS
    validation = load_comparisons(
        arguments.validation, "validation", manual_dir=arguments.manual_dir, reading=reading_flags.reading()
    )
    if shared := len({c.prompt for c in validation} & {c.prompt for c in comparisons}):
        print(
            f"warning: {shared} prompts of --validation={arguments.validation} are also in --data={arguments.data}: "
            "the calibration at the fitted temperature is too good to be true",
            file=sys.stderr,
        )
    return validation


def choose_member(validation: Sequence[Comparison]) -> RewardModel:
    """Returns the ensemble member with the highest accuracy on the validation data.

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
    """Returns the results of the comparison with the checkpoint of --against."""
    from rmjax.stages.evaluation import compare_models

    arguments = flags.FLAGS
    (name,) = arguments.against
    resampling = {"bootstrap": arguments.bootstrap, "seed": arguments.seed}
    compared, cut = compare_models(comparisons, evaluation.scores, heads, load_alone(name), **resampling)
    truncation = checkpoint_flags.report_truncation(cut, name)
    return {"checkpoint": name, **compared, "truncation": truncation}


def against_seeds(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Returns the metrics of every checkpoint, and their comparison with those of --against, seed by seed.

    Raises:
        InputError: the flags name different numbers of checkpoints, or a flag is for one model.
    """
    from rmjax.stages.evaluation import compare_seeds, evaluate_model

    arguments = flags.FLAGS
    names, others = arguments.checkpoint, arguments.against
    if len(names) != len(others):
        raise InputError(f"--checkpoint names {len(names)} runs and --against {len(others)}: name the same seeds")
    if arguments.combine or arguments.gate or arguments.validation:
        raise InputError("--combine, --gate and --validation are for one model: leave them out with several seeds")
    evaluations = []
    for name in (*names, *others):
        settings = {"bootstrap": arguments.bootstrap, "seed": arguments.seed, "mistakes": 0}
        evaluations.append(evaluate_model(load_alone(name), comparisons, **settings))
        checkpoint_flags.report_truncation(evaluations[-1].cut, name)
    outcomes = [evaluation.outcomes for evaluation in evaluations]
    compared = compare_seeds(outcomes[: len(names)], outcomes[len(names) :])
    runs = {name: each.metrics for name, each in zip((*names, *others), evaluations, strict=True)}
    return {"against": {"checkpoint": ",".join(others), **compared}, "runs": runs}


def load_alone(name: str) -> RewardModel:
    """Loads one reward model; the flags for a Hugging Face folder apply to it if it is one."""
    from rmjax.scoring.checkpoint import is_hugging_face, load

    stated = checkpoint_flags.stated_for_hub() if is_hugging_face(Path(name)) else {}
    return load(name, verify=flags.FLAGS.verify, **stated)


if __name__ == "__main__":
    runtime.prepare_process()
    checkpoint_flags.define()
    reading_flags.define()
    flags.DEFINE_string("data", None, "Comparisons by name: gold/helpful, jsonl:FILE, hh_rlhf/helpful-base, ...")
    flags.DEFINE_string("validation", None, "Comparisons to fit the temperature on; without them, none is fitted.")
    flags.DEFINE_list(
        "against",
        [],
        "Another checkpoint to compare with; or the runs of several seeds, joined by commas, in the order of those of "
        "--checkpoint.",
    )
    flags.DEFINE_string("output", None, "JSON file for the result; -: standard output; none: it is only printed.")
    flags.DEFINE_string("manual_dir", "", "Folder with the files of HH-RLHF; empty: download.")
    flags.DEFINE_integer("bootstrap", 2000, "Bootstrap resamples of the prompts for the intervals.")
    flags.DEFINE_integer("mistakes", mistakes.COUNT, "Number of worst mistakes saved next to --output.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Seed of the bootstrap.")
    flags.mark_flags_as_required(["data"])
    script.run(main)
