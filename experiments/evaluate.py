"""Evaluates a trained reward model on comparisons.

python experiments/evaluate.py --checkpoint=runs/helpful --data=gold/helpful --output=result.json
"""

from __future__ import annotations

from pathlib import Path

import cli
from absl import flags

from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation.evaluate import evaluate, summary
from rmjax.training.run import write_json


def main() -> None:
    from rmjax.scoring.checkpoint import load

    arguments = flags.FLAGS
    output = Path(arguments.output) if arguments.output else None
    if output and not output.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    comparisons = load_comparisons(arguments.data, "test", manual_dir=arguments.manual_dir)
    model = load(arguments.checkpoint, verify=arguments.verify)
    result = evaluate(
        model.score_comparisons, comparisons, model.heads, bootstrap=arguments.bootstrap, seed=arguments.seed
    )
    print(summary(result))
    if output:
        write_json(output, {"data": arguments.data, "checkpoint": arguments.checkpoint, **result})


if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", None, "Run directory (its last sound checkpoint) or a checkpoint in it.")
    flags.DEFINE_string("data", None, "Comparisons by name: gold/helpful, jsonl:FILE, hh_rlhf/helpful-base, ...")
    flags.DEFINE_string("output", None, "JSON file for the result; without it, it is only printed.")
    flags.DEFINE_string("manual_dir", "", "Folder with HH-RLHF's files; empty: download.")
    flags.DEFINE_integer("bootstrap", 2000, "Resamples of the prompts for the intervals.")
    flags.DEFINE_integer("seed", 0, "Of the resampling.")
    flags.DEFINE_bool("verify", True, "Recompute the canaries of the checkpoint before scoring.")
    flags.mark_flags_as_required(["checkpoint", "data"])
    cli.run(main)
