"""Does it help to start the reward model from SFT weights, and when?

    python benchmarks/initialisation.py --workdir=runs/initialisation

Runs configs/helpful.py from SFT weights and from random ones, for 10, 30 and 100 % of its reward-model steps (the
schedule fitted to each), three seeds each, and prints the table. Runs that are finished are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHARES = (100, 30, 10)  # 100 first: its SFT start serves the other two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    gains: dict[tuple[str, int], list[float]] = {}
    accuracies: dict[tuple[str, int], list[float]] = {}
    for seed in range(arguments.seeds):
        whole = arguments.workdir / f"sft-100-seed{seed}"
        for share in SHARES:
            for start in ("sft", "random"):
                workdir = arguments.workdir / f"{start}-{share}-seed{seed}"
                init = str(whole / "sft") if start == "sft" and share != 100 else start
                result = run(workdir, init, seed, share, arguments.workdir)
                gains.setdefault((start, share), []).append(100 * result["ceiling_gain"])
                accuracies.setdefault((start, share), []).append(100 * result["accuracy"])
    print("| steps | start | accuracy, % | share of the ceiling's gain, % |\n|---|---|---|---|")
    for share in reversed(SHARES):
        for start in ("random", "sft"):
            cells = (with_error(values[start, share]) for values in (accuracies, gains))
            print(f"| {share} % | {start} | {' | '.join(cells)} |")


def run(workdir: Path, init: str, seed: int, share: int, root: Path) -> dict:
    """One run, or its result where it is finished."""
    evaluation = workdir / "evaluation.json"
    if not evaluation.is_file():
        # The whole run's own log says how many steps 100 % are.
        whole = root / f"sft-100-seed{seed}" / "metrics.jsonl"
        steps = max(json.loads(line)["step"] for line in whole.read_text().splitlines()) if share != 100 else 0
        command = [sys.executable, str(ROOT / "experiments/train.py"), f"--config={ROOT}/configs/helpful.py"]
        command += [f"--workdir={workdir}", f"--config.init={init}", f"--config.seed={seed}"]
        command += [f"--config.train.max_steps={round(steps * share / 100)}", "--config.train.evaluate_every=0"]
        subprocess.run(command, check=True)
    return json.loads(evaluation.read_text())


def with_error(values: list[float]) -> str:
    """mean ± standard error of the mean."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()
