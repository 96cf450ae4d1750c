"""Training runs of a sweep, every setting with several seeds; then one table and its figures.

    python experiments/sweep.py --config=configs/sweeps/margin.py

Before the first run it prints the smallest difference in accuracy that the sweep can detect; with `--plan` it prints
only this. Every run has a separate directory. If a run fails, the others go on. The same command, called again, resumes
interrupted runs, repeats failed ones and skips finished ones. Results are in --workdir (default runs/sweeps/NAME):
results.csv with a line for every run, results.md with the table, figures/, and the runs themselves in runs/, starts/
and logs/.
"""

from __future__ import annotations

from pathlib import Path

from rmjax.cli import runtime, script, sweep_script


def main() -> None:
    sweep_script.run_sweep(Path("runs") / "sweeps")


if __name__ == "__main__":
    runtime.prepare_process()
    sweep_script.define()
    script.run(main)
