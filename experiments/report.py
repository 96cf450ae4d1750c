"""Writes the page of a run or of a sweep: one HTML file with its figures, to read, print and send.

    python experiments/report.py --workdir=runs/helpful

Needs no network and no accelerator; what the directory does not have, the page says. A sweep's page links to the
directories of its runs, which therefore have to stay where they are.
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
    flags.DEFINE_string("workdir", None, "Directory of a run (train.py, sft.py) or of a sweep (sweep.py).")
    flags.DEFINE_string("output", None, "HTML file; default WORKDIR/report.html.")
    flags.mark_flag_as_required("workdir")
    script.run(main)
