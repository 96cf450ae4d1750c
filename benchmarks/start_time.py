"""Seconds from command to first training step, with and without caches, and of `import rmjax`.

    python benchmarks/start_time.py

Each measurement is repeated; the output has the median and the extremes. The first step is over when the metrics have
its line, which is one step later, since metrics are read one step late. Then the run is stopped. The first run has an
empty home directory, which contains the caches of rmjax. The second run has the corpus and its tokens, but no compiled
program. The third has all of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = Path(__file__).resolve().parent.parent / "experiments" / "train.py"


def first_step(home: str, config: str) -> float:
    """Returns the seconds until the first line of metrics of the run's first stage."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        arguments = [f"--config={config}", f"--workdir={workdir}", "--config.sft.log_every=1"]
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, str(TRAIN), *arguments],
            env={**os.environ, "HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        log = workdir / "sft" / "metrics.jsonl"
        try:
            while not (log.is_file() and log.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"the run ended with status {process.returncode} before its first step")
                time.sleep(0.01)
            return time.monotonic() - began
        finally:
            process.kill()
            process.wait()


def import_time() -> float:
    """Returns the seconds of `import rmjax` in a fresh interpreter, without the start of the interpreter."""
    code = "import time; began = time.perf_counter(); import rmjax; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/helpful.py")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {"import rmjax": [import_time() for _ in range(arguments.repeats)]}
    names = ("first step, nothing cached", "first step, nothing compiled", "first step, all cached")
    found |= {name: [] for name in names}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as home:
            for name in names:
                if name == "first step, nothing compiled":
                    shutil.rmtree(Path(home) / ".cache" / "rmjax" / "compiled")
                found[name].append(first_step(home, arguments.config))
    for name, values in found.items():
        print(f"{name}: {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
