"""Table of all runs in a folder: their results, and the fields in which their configurations differ.

    python experiments/runs.py --folder=runs --output=runs.html

The console shows a table for reward models, one for language models and one for policies. Runs inside another run, such
as its SFT stage, are left out. `training` is the time of the logged steps. Needs no network and no accelerator.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from rmjax.cli import runtime, script
from rmjax.cli.output import console_apart_from, write_output


def main() -> None:
    from rmjax.report.runs_report import run_tables, runs_page, runs_text

    folder, output = flags.FLAGS.folder, flags.FLAGS.output
    with console_apart_from(output):
        tables = run_tables(folder)
        print(runs_text(tables))
        if output:
            write_output(output, runs_page(folder, tables, Path(output)))
            print(f"\nWritten: {output}")


if __name__ == "__main__":
    runtime.prepare_process()
    flags.DEFINE_string("folder", "runs", "Folder with run directories, in it or in its subfolders.")
    flags.DEFINE_string("output", None, "HTML page of the tables; -: standard output; none: they are only printed.")
    script.run(main)
