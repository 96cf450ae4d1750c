"""Runs of the scripts in forks of a process that has imported everything, since imports take longer than most runs.

No backend of jax is started before the fork, so that a fork is like a new process after its imports. Tests of signals,
of standard input and of the start itself use `command` and `environment` with `subprocess` instead.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import rmjax

ROOT = Path(__file__).resolve().parent.parent
# A user's environment, but compiled fast, into the cache of all tests, and without a network.
SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "HF_HUB_OFFLINE": "1",
    "COLUMNS": "100",
}
# What `prepare_process` would set before the imports. It starts a new process unless GLIBC_TUNABLES is set.
PREPARED = {"GLIBC_TUNABLES": "", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_NUM_CPU_DEVICES": "2"}
LIBRARIES = ("orbax.checkpoint", "scipy.stats", "transformers", "tokenizers", "matplotlib.figure")
OPTIONAL = ("rmjax.data.hh_rlhf",)  # it loads tensorflow-datasets
LONGEST = 600.0  # seconds after which a run counts as hanging


def command(script: str, *arguments: str) -> list[str]:
    """Returns the command line of a script."""
    return [sys.executable, str(ROOT / "experiments" / f"{script}.py"), *arguments]


def environment() -> dict[str, str]:
    """Returns the environment for a script that `subprocess` runs."""
    return {**os.environ, **SETTINGS}


def call(script: str, *arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """Runs a script to its end in a fork; `variables` are changes to its environment."""
    argv = [str(ROOT / "experiments" / f"{script}.py"), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _server().Process(target=_become, args=(argv, cwd, variables, streams))
        process.start()
        process.join(LONGEST)
        if process.exitcode is None:
            process.kill()
            process.join()
        return subprocess.CompletedProcess(argv, process.exitcode, *(path.read_text() for path in streams))


@functools.cache
def _server() -> multiprocessing.context.ForkServerContext:
    """Starts the process that is forked."""
    context = multiprocessing.get_context("forkserver")
    modules = (module.name for module in pkgutil.walk_packages(rmjax.__path__, "rmjax."))
    context.set_forkserver_preload([*LIBRARIES, *(name for name in modules if not name.startswith(OPTIONAL))])
    before = dict(os.environ)
    os.environ.update(SETTINGS | PREPARED)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _become(argv: list[str], cwd: Path, variables: dict[str, str], streams: list[Path]) -> None:
    """Runs a script in this process, as Python would."""
    for number, path in enumerate(streams, start=1):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    os.environ.update(variables)
    os.chdir(cwd)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
