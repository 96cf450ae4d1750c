"""Over-optimisation: policies optimised against reward models, with the true reward of what they write.

    python experiments/overoptimisation.py --config=configs/overoptimisation.py

Runs as experiments/sweep.py does: every setting with several seeds, resumable, on this machine or under Slurm. Each
finished run gets overoptimisation.json: its curves over KL divergence, the fits of Gao et al. (2210.10760), the peak of
the gold reward, the change from it until the end, and the degree of over-optimisation γ. The results are in --workdir
(default runs/overoptimisation): results.csv, results.md, figures/, and the runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmjax.cli import runtime, script, sweep_script

if TYPE_CHECKING:
    from rmjax.sweeps.results import SweepResults


def main() -> None:
    from rmjax.sweeps.overoptimisation import summarize

    sweep_script.run_sweep(Path("runs"), before_table=summarize, conclude=conclusions)


def conclusions(results: SweepResults) -> str:
    """Returns the sentence about accuracy and γ of the judges, and the table of the detectors."""
    from rmjax.evaluation.text_table import markdown_table
    from rmjax.sweeps.overoptimisation import correlation_in_words, detector_rows

    rows = detector_rows(results)
    parts = [correlation_in_words(results), markdown_table(rows) if rows else ""]
    return "\n\n".join(filter(None, parts))


if __name__ == "__main__":
    runtime.prepare_process()
    sweep_script.define()
    script.run(main)
