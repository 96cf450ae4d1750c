"""Host memory of the training data of a reward model, in bytes for each pair.

    python benchmarks/pair_memory.py

Writes JSON-lines files of different pairs with the texts of the embedded corpus. Loads, checks, counts and tokenizes
each file in a fresh process with empty caches, as a run does before its first step, and plans all batches of two
epochs. Nothing is trained. Prints, from the difference between the largest and the smallest file: the growth of the
peak memory of the process; what the process holds when training would begin; and the sizes of its parts. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import markdown

ROOT = Path(__file__).resolve().parent.parent
COUNTS = (20_000, 200_000)


def write_pairs(path: Path, count: int) -> None:
    """Writes pairs; the texts repeat, but every prompt has its own number."""
    from rmjax.data.gold import corpus as gold

    drawn = [c for c in gold.comparisons("helpful", "train", 4000) if c.ranks[0] != c.ranks[1]]
    with path.open("w", encoding="utf-8") as file:
        for number, c in enumerate(itertools.islice(itertools.cycle(drawn), count)):
            first, second = (0, 1) if c.ranks[0] < c.ranks[1] else (1, 0)
            prompt = [message._asdict() for message in c.prompt]
            prompt[-1]["content"] = f"{number}. {prompt[-1]['content']}"
            row = {"prompt": prompt, "chosen": c.responses[first], "rejected": c.responses[second]}
            file.write(json.dumps(row) + "\n")


def measure(path: Path) -> dict[str, float]:
    """Returns memory in bytes and seconds of loading a file in this process."""
    from configs import helpful
    from rmjax.data.loader import BatchStream
    from rmjax.stages.parsing import parse
    from rmjax.stages.reward_data import load_reward_data
    from rmjax.stages.settings import RunSettings

    config = helpful.get_config("scratch")
    config.init = "random"
    config.data.train, config.data.eval = f"jsonl:{path}", "gold/helpful[:200]"
    config.data.sft, config.data.validation = "gold/text[:500]", "gold/helpful:validation[:100]"
    began = time.monotonic()
    data = load_reward_data(parse(RunSettings, config.to_dict()))
    loaded = time.monotonic()
    stream = BatchStream(data.examples, batch_size=32, epochs=2, row_length=0, seed=0, single_row=True)
    planned = time.monotonic()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that the allocator keeps for later is not counted
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "pairs": len(data.examples),
        "peak": 1024 * int(status["VmHWM"].split()[0]),
        "held": 1024 * int(status["VmRSS"].split()[0]),
        "ids and labels": getattr(data.examples, "nbytes", float("nan")),
        "plan": getattr(stream, "nbytes", float("nan")),
        "file": path.stat().st_size,
        "loading, s": loaded - began,
        "planning, s": planned - loaded,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default=",".join(map(str, COUNTS)), help="smallest,largest")
    parser.add_argument("--load", type=Path, help="measure this file in this process; used by the script")
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(measure(arguments.load)))
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for count in map(int, arguments.pairs.split(",")):
            path = Path(folder) / f"{count}.jsonl"
            write_pairs(path, count)
            environment = {**os.environ, "JAX_PLATFORMS": "cpu", "HOME": folder, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, __file__, f"--load={path}"]
            child = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
            found.append(json.loads(child.stdout.splitlines()[-1]))
    small, large = found
    more = large["pairs"] - small["pairs"]
    rows = [
        {"memory": name, "bytes a pair": f"{(large[name] - small[name]) / more:.0f}", "largest, MB": large[name] / 1e6}
        for name in ("file", "peak", "held", "ids and labels", "plan")
    ]
    print(markdown([{**row, "largest, MB": f"{row['largest, MB']:.0f}"} for row in rows]))
    print(f"{large['pairs']:,} pairs: loading {large['loading, s']:.0f} s, planning {large['planning, s']:.0f} s")


if __name__ == "__main__":
    main()
