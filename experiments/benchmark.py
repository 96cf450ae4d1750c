"""Evaluation of a reward model on RewardBench, RewardBench 2, and robustness probes.

    python experiments/benchmark.py --checkpoint=runs/helpful --rewardbench=allenai/reward-bench --probes=gold/helpful

With --output=RUN/benchmark.json, the report of the run shows the results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import flags
from tqdm import tqdm

from rmjax.cli import checkpoint_flags, reading_flags, runtime, script
from rmjax.cli.output import console_apart_from, write_result
from rmjax.data.comparisons import Prompt
from rmjax.data.sources import load_comparisons
from rmjax.errors import InputError
from rmjax.evaluation.benchmarks import probes, rewardbench
from rmjax.evaluation.benchmarks.rewardbench_items import read_rewardbench, read_rewardbench2

SLICE = 256  # prompts that are scored between two updates of the progress bar
BENCHMARKS = {
    "rewardbench": (read_rewardbench, rewardbench.evaluate_rewardbench),
    "rewardbench2": (read_rewardbench2, rewardbench.evaluate_rewardbench2),
}


def main() -> None:
    with console_apart_from(flags.FLAGS.output):
        measure()


def measure() -> None:
    """Measures the model of the flags on their benchmarks, prints the tables, and writes the results."""
    arguments = flags.FLAGS
    sources = {name: getattr(arguments, name) for name in (*BENCHMARKS, "probes") if getattr(arguments, name)}
    if not sources:
        raise InputError("nothing to do: give --rewardbench, --rewardbench2 or --probes")
    items = {name: read(sources[name]) for name, (read, _) in BENCHMARKS.items() if name in sources}
    if arguments.probes:
        comparisons = load_comparisons(
            arguments.probes, "test", manual_dir=arguments.manual_dir, reading=reading_flags.reading()
        )
    model = checkpoint_flags.load_checkpoint()
    head = model.pick_head(arguments.head)
    resampling = {"bootstrap": arguments.bootstrap, "seed": arguments.seed}

    cut: list[np.ndarray] = []

    def score(prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> list[np.ndarray]:
        found = []
        with tqdm(total=len(prompts), desc="scoring", unit=" prompts", dynamic_ncols=True) as bar:
            for start in range(0, len(prompts), SLICE):
                part = slice(start, start + SLICE)
                scored = model.score_groups(prompts[part], responses[part])
                cut.extend(scored.cut)
                found += [scores_KxZ[:, model.heads.index(head)] for scores_KxZ in scored.raw]
                bar.update(len(prompts[part]))
        return found

    results, tables = {}, []
    for name, group in items.items():
        scores = score([item.prompt for item in group], [item.responses for item in group])
        results[name] = BENCHMARKS[name][1](group, scores, **resampling)
        results[name]["truncation"] = checkpoint_flags.report_truncation(cut, name)
        cut.clear()
        tables.append(rewardbench.summary(results[name]))
    if arguments.probes:
        results["probes"] = probes.evaluate_probes(score, comparisons, **resampling)
        results["probes"]["truncation"] = checkpoint_flags.report_truncation(cut, "probes")
        tables.append(probes.summary(results["probes"]))
    print("\n\n".join(tables))
    if arguments.output:
        about = {"checkpoint": ",".join(arguments.checkpoint), "head": head, "sources": sources}
        write_result(arguments.output, {**about, **results})


if __name__ == "__main__":
    runtime.prepare_process()
    checkpoint_flags.define()
    reading_flags.define()
    flags.DEFINE_string("rewardbench", None, "RewardBench: .jsonl, .jsonl.gz, .parquet, -, or allenai/reward-bench.")
    flags.DEFINE_string("rewardbench2", None, "RewardBench 2: the same, or allenai/reward-bench-2.")
    flags.DEFINE_string("probes", None, "Comparisons that the probes edit, by name: gold/helpful, jsonl:FILE, ...")
    flags.DEFINE_string("manual_dir", "", "Folder with the files of HH-RLHF; empty: download.")
    flags.DEFINE_string("head", None, "Head that scores; optional if the model has a single one.")
    flags.DEFINE_string("output", None, "JSON file for the results; -: standard output; none: they are only printed.")
    flags.DEFINE_integer("bootstrap", 2000, "Bootstrap resamples of the prompts for the intervals.")
    flags.DEFINE_integer("seed", 0, "Seed of the bootstrap.")
    script.run(main)
