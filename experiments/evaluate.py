"""Evaluates a trained reward model on comparisons.

    python experiments/evaluate.py --checkpoint=runs/helpful --data=gold/helpful --output=RESULT.json

`--validation` names comparisons to fit a temperature on, for calibrated probabilities: what the model neither learned
from nor is reported on.
"""

from __future__ import annotations

from pathlib import Path

import cli
from absl import flags

from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation.calibration import fit_temperatures
from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.summary import summary
from rmjax.training.run import write_json


def main() -> None:
    arguments = flags.FLAGS
    output = Path(arguments.output) if arguments.output else None
    if output and not output.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    comparisons = load_comparisons(arguments.data, "test", manual_dir=arguments.manual_dir)
    validation = []
    if arguments.validation:
        validation = load_comparisons(arguments.validation, "validation", manual_dir=arguments.manual_dir)
    model = cli.load_checkpoint()
    temperatures = None
    if validation:
        temperatures = fit_temperatures(validation, model.score_comparisons(validation), model.heads)
    resampling = {"bootstrap": arguments.bootstrap, "seed": arguments.seed}
    result = evaluate(model.score_comparisons, comparisons, model.heads, **resampling, temperatures=temperatures)
    print(summary(result))
    if output:
        write_json(output, {"data": arguments.data, "checkpoint": arguments.checkpoint, **result})


if __name__ == "__main__":
    cli.define_checkpoint()
    flags.DEFINE_string("data", None, "Comparisons by name: gold/helpful, jsonl:FILE, hh_rlhf/helpful-base, ...")
    flags.DEFINE_string("validation", None, "Comparisons to fit the temperature on; without them, there is none.")
    flags.DEFINE_string("output", None, "JSON file for the result; without it, it is only printed.")
    flags.DEFINE_string("manual_dir", "", "Folder with HH-RLHF's files; empty: download.")
    flags.DEFINE_integer("bootstrap", 2000, "Resamples of the prompts for the intervals.")
    flags.DEFINE_integer("seed", 0, "Of the resampling.")
    flags.mark_flags_as_required(["data"])
    cli.run(main)
