"""Faults injected into tiny runs: how many end identical to an uninterrupted run, or are refused in one sentence.

    python tests/faults/faults.py --output=faults.md
    python tests/faults/faults.py --run=policy

A reward-model run with an SFT stage, or a PPO run that makes both first, is killed, stopped, damaged, doubled, and put
on a full disk, and the same command is given again. Prints a Markdown table, and every fault that did not end as it
should. `--quick` takes a minute, `--kinds` names some kinds. Permissions and full disks need Linux, and a full disk
root.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import IDENTICAL, REFUSED, Bench
from kinds import MANY, DamagedFiles, FinishedBits, FullDisk, Kills, Moments, Signals, StoppedBits, TwoAtOnce
from tiny_runs import RUNS

KINDS = {
    "kills": Kills(),
    "moments": Moments(),
    "signals": Signals(),
    "two": TwoAtOnce(),
    "bits": FinishedBits(),
    "stopped": StoppedBits(),
    "files": DamagedFiles(),
    "disk": FullDisk(),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", choices=sorted(RUNS), default="reward_model")
    parser.add_argument("--quick", action="store_true", help="a few faults of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds, joined by commas")
    parser.add_argument("--count", type=int, help="number of faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="I/N: every N-th fault, beginning with the I-th")
    parser.add_argument("--folder", help="folder for the runs, such as one in memory")
    parser.add_argument("--output", type=Path, help="file for the table")
    arguments = parser.parse_args()
    part, parts = (int(number) for number in arguments.part.split("/"))
    part -= 1
    rows = ["| fault | injected | identical | refused | failed | seconds |", "|---|---|---|---|---|---|"]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="rmjax-faults-", dir=arguments.folder) as folder:
        bench = Bench(Path(folder), arguments.run)
        print(
            f"one run: {bench.seconds:.1f} s, {len(bench.changes)} changes of files, {len(bench.states)} states",
            flush=True,
        )
        for name in arguments.kinds.split(","):
            kind, draw = KINDS[name], random.Random(arguments.seed)
            count = kind.counts[arguments.quick] if arguments.count is None else arguments.count
            cases = spread(kind.cases(bench, draw), count)[part::parts]
            began, ended = time.monotonic(), collections.Counter[str]()
            for result in (kind.run(bench, case) for case in cases):
                how = result.ended if result.ended in (IDENTICAL, REFUSED) else "failed"
                ended[how] += 1
                print(f"{name}: {result.fault}: {result.ended} {result.said}".rstrip(), flush=True)
            failed += ended["failed"]
            counted = " | ".join(str(ended[how]) for how in (IDENTICAL, REFUSED, "failed"))
            rows.append(f"| {kind.title} | {ended.total()} | {counted} | {time.monotonic() - began:.0f} |")
            print(rows[-1], flush=True)
        bench.close()
    table = "\n".join(rows)
    print(f"\n{table}")
    if arguments.output:
        arguments.output.write_text(table + "\n")
    return 1 if failed else 0


def spread(cases: list[Any], count: int | None) -> list[Any]:
    """Returns `count` of the cases: the first of a list without end, or evenly spread; all if `count` is None."""
    if count is None or count >= len(cases):
        return cases
    if len(cases) == MANY:
        return cases[:count]
    return [cases[int((i + 0.5) * len(cases) / count)] for i in range(count)]


if __name__ == "__main__":
    sys.exit(main())
