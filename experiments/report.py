"""HTML report of a run or of a sweep: one file, with its figures, to read, print and send.

    python experiments/report.py --workdir=runs/helpful

Needs no network and no accelerator. The report says which files the directory does not have. The report of a sweep
links to the directories of its runs, so do not move these.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from rmjax.cli import runtime, script
from rmjax.cli.output import console_apart_from, write_output


def main() -> None:
    from rmjax.report.report import report

    workdir = Path(flags.FLAGS.workdir)
    output = flags.FLAGS.output or str(workdir / "report.html")
    with console_apart_from(output if workdir.is_dir() else None):
        # On standard output the links to the runs of a sweep are relative to the current folder.
        write_output(output, report(workdir, Path(output)))
        print(output)


if __name__ == "__main__":
    runtime.prepare_process()
    flags.DEFINE_string("workdir", None, "Directory of a run (train.py, sft.py, ppo.py) or of a sweep (sweep.py).")
    flags.DEFINE_string("output", None, "HTML file; default WORKDIR/report.html; -: standard output.")
    flags.mark_flag_as_required("workdir")
    script.run(main)
