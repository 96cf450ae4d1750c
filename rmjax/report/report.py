"""HTML report of the directory of a run or of a sweep."""

from __future__ import annotations

from pathlib import Path

import jinja2

from rmjax.errors import InputError
from rmjax.report.rl_report import rl_report
from rmjax.report.run_report import run_report
from rmjax.report.sweep_report import sweep_report
from rmjax.sweeps.results import read_sweep
from rmjax.training.run_files import read_run
from rmjax.training.run_paths import RunPaths


def report(workdir: str | Path, output: Path) -> str:
    """The page of a run directory, or of the directory of a sweep.

    Args:
        workdir: of experiments/train.py, sft.py, ppo.py or sweep.py.
        output: the file that the page will be written to; links to the runs of a sweep are relative to it.

    Returns:
        An HTML document that is complete in itself. Only the runs of a sweep are links.

    Raises:
        InputError: the directory is neither, or one of its files cannot be read.
    """
    workdir = Path(workdir)
    try:
        return _page(workdir, output)
    except InputError:
        raise
    except (jinja2.UndefinedError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"a file of {workdir} has not the form that its run wrote ({reason}): it was damaged or edited"
        ) from error


def _page(workdir: Path, output: Path) -> str:
    if (workdir / "sweep.json").is_file():
        return sweep_report(read_sweep(workdir), output)
    if RunPaths(workdir).config_file.is_file():
        run = read_run(workdir)
        return rl_report(run) if run.kind == "policy" else run_report(run)
    raise InputError(f"{workdir} holds no run (config.json) and no sweep (sweep.json): give the directory of one")
