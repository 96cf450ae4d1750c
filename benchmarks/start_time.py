"""Seconds from command to first training step, the first time and later, and of `import rmjax`.

    python benchmarks/start_time.py

Each is repeated and the median printed beside the extremes. The first step is over when its line stands in the metrics,
which is one step later, since metrics are read one step late; the run is then stopped. The first run finds an empty
home directory, where rmjax keeps what it has done before; the second has the corpus and its tokens, but no compiled
program; the third has all of it.
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
    """Seconds until the first line of metrics of the run's first stage."""
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
    """Seconds of `import rmjax` in a fresh interpreter, its own start not counted."""
    code = "import time; began = time.perf_counter(); import rmjax; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/helpful.py")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {"import rmjax": [import_time() for _ in range(arguments.repeats)]}
    names = ("first step, nothing kept", "first step, nothing compiled", "first step, all kept")
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
