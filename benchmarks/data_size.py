"""Time and memory of training against the amount of data.

    python benchmarks/data_size.py

The goal: twice the pairs take twice the time and no more memory. Writes pairs of the embedded corpus to JSON-lines
files and trains the default trunk on each, from random weights, with the same few evaluation pairs. Prints the seconds
of the whole command, those of training alone (without the first step, which compiles), and the peak resident memory of
the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import markdown, write_results

from rmjax.data.gold import corpus as gold

ROOT = Path(__file__).resolve().parent.parent


def write_pairs(path: Path, count: int) -> None:
    """Writes the first two responses of `count` comparisons, which differ in rank, as chosen and rejected."""
    with path.open("w", encoding="utf-8") as file:
        for c in gold.comparisons("helpful", "train", count):
            first, second = (0, 1) if c.ranks[0] < c.ranks[1] else (1, 0)
            prompt = [message._asdict() for message in c.prompt]
            row = {"prompt": prompt, "chosen": c.responses[first], "rejected": c.responses[second]}
            file.write(json.dumps(row) + "\n")


def train(data: Path, workdir: Path) -> dict[str, float]:
    """Trains one run; returns its seconds and memory."""
    command = [
        sys.executable,
        str(ROOT / "experiments" / "train.py"),
        f"--config={ROOT}/configs/helpful.py:scratch",
        f"--workdir={workdir}",
        f"--config.data.train=jsonl:{data}",
        "--config.data.eval=gold/helpful[:200]",
        "--config.data.refuse_leaks=False",
        "--config.data.holdout=0.005",
        "--config.init=random",
        "--config.train.epochs=1",
        "--config.train.evaluate_every=0",
        "--config.train.checkpoint_every=0",
    ]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the run on {data} ended with status {process.returncode}")
    timed = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    seconds = [row["seconds"] for row in timed if "seconds" in row]
    return {
        "whole": time.monotonic() - began,
        "training": seconds[-1] - seconds[0],
        "memory": usage.ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default="10000,20000,40000")
    parser.add_argument("--output", type=Path, default=Path("data_size.json"))
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in map(int, arguments.pairs.split(",")):
            data = Path(folder) / f"{count}.jsonl"
            write_pairs(data, count)
            row = train(data, Path(folder) / str(count))
            rows.append(
                {
                    "pairs": count,
                    "file, MB": f"{data.stat().st_size / 1e6:.1f}",
                    "whole command, s": f"{row['whole']:.0f}",
                    "training, s": f"{row['training']:.0f}",
                    "peak memory, GB": f"{row['memory']:.2f}",
                }
            )
            print(markdown(rows[-1:]).splitlines()[-1], flush=True)
    write_results(arguments.output, rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
