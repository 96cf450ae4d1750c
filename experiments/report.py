"""HTML report of a run or of a sweep: one file, with its figures, to read, print and send.

    python experiments/report.py --workdir=runs/helpful

Needs no network and no accelerator. The report says which files the directory does not have. The report of a sweep
links to the directories of its runs, so do not move these.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from rmjax.cli import runtime, script
from rmjax.errors import InputError


def main() -> None:
    from rmjax.report.report import report
    from rmjax.training.run import write_text

    workdir = Path(flags.FLAGS.workdir)
    output = Path(flags.FLAGS.output) if flags.FLAGS.output else workdir / "report.html"
    if workdir.is_dir() and not output.parent.is_dir():
        raise InputError(f"the folder of --output={output} does not exist")
    write_text(output, report(workdir, output))
    print(output)


if __name__ == "__main__":
    runtime.prepare_process()
    flags.DEFINE_string("workdir", None, "Directory of a run (train.py, sft.py, ppo.py) or of a sweep (sweep.py).")
    flags.DEFINE_string("output", None, "HTML file; default WORKDIR/report.html.")
    flags.mark_flag_as_required("workdir")
    script.run(main)
