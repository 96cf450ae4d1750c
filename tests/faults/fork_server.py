"""Server that runs scripts of rmjax in forks of a process that has imported everything: a run takes seconds.

The server never starts a backend of jax, so a fork of it is like a new process after its imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import io
import os
import pkgutil
import resource
import runpy
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import hooks

ROOT = Path(__file__).resolve().parents[2]
OPTIONAL = ("rmjax.data.hh_rlhf",)  # modules that load tensorflow-datasets
LONGEST = 600.0  # seconds after which a run counts as hanging


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit status (negative: a signal; None: it hung), output, and CPU seconds."""

    status: int | None
    output: str
    seconds: float

    @property
    def refusal(self) -> str:
        """The sentence of a run that was refused, otherwise ""."""
        errors = [line for line in self.output.splitlines() if line.startswith("error: ")]
        clean = self.status == 1 and len(errors) == 1 and "Traceback" not in self.output
        return errors[0] if clean else ""

    @property
    def last_lines(self) -> str:
        """The end of the output, for a failure."""
        return f"status {self.status}: " + " / ".join(self.output.strip().splitlines()[-3:])


class ForkServer:
    """Starts runs; `folder` holds what they share: home, compiled programs and output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ours, theirs = Pipe()
        self._number = 0
        self._pid = os.fork()
        if not self._pid:
            self._ours.close()
            with contextlib.suppress(EOFError):
                _serve(theirs, folder)
            os._exit(0)
        theirs.close()
        self._ours.recv()  # imports are done

    def start(self, argv: Sequence[str], hook: Mapping[str, Any] | None = None, blind: bool = False) -> int:
        """Starts a script; returns its process id.

        Args:
            argv: script and flags, relative to the repository.
            hook: arguments of `hooks.install`.
            blind: the process does not have the right of root to ignore permissions.
        """
        self._number += 1
        output = self.folder / f"output-{self._number % 10}"
        self._ours.send((list(argv), hook, blind, output))
        return self._ours.recv()

    def wait(self, pid: int) -> Outcome:
        """Returns how a run ended."""
        self._ours.send(pid)
        return self._ours.recv()

    def run(self, argv: Sequence[str], **options: Any) -> Outcome:
        """Runs a script to its end."""
        return self.wait(self.start(argv, **options))

    def close(self) -> None:
        """Ends the server."""
        self._ours.close()
        os.waitpid(self._pid, 0)


def _serve(channel: Connection, folder: Path) -> None:
    _prepare(folder)
    channel.send("ready")
    outputs: dict[int, Path] = {}
    while True:
        request = channel.recv()
        if isinstance(request, int):
            channel.send(_ended(request, outputs.pop(request)))
            continue
        *_, output = request
        if not (pid := os.fork()):
            _become(*request)
        outputs[pid] = output
        channel.send(pid)


def _prepare(folder: Path) -> None:
    os.environ |= {
        "HOME": str(folder / "home"),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0"),  # scripts start only once
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MPLCONFIGDIR": str(folder / "home"),
    }
    (folder / "home").mkdir(exist_ok=True)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import orbax.checkpoint
    import scipy.stats
    import tensorstore
    import transformers

    import rmjax

    loaded = [orbax.checkpoint, scipy.stats, tensorstore, transformers.AutoTokenizer]
    for module in pkgutil.walk_packages(rmjax.__path__, "rmjax."):
        if not module.name.startswith(OPTIONAL):
            loaded.append(importlib.import_module(module.name))
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    pyplot.figure().savefig(drawn := io.BytesIO())
    pyplot.close("all")
    # Drawing takes a fifth of the time of a run, and no fault is in it.
    Figure.savefig = lambda _, file, **options: file.write(drawn.getvalue())


def _become(argv: list[str], hook: dict[str, Any] | None, blind: bool, output: Path) -> None:
    """Runs a script in this process, as Python would; never returns."""
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    status: Any = 0
    try:
        if blind:
            _drop_rights()
        if hook:
            hooks.install(**hook)
        sys.argv = list(argv)
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _drop_rights() -> None:
    """Takes from this process the capabilities by which root reads and writes files without permission."""
    if os.geteuid() == 0:
        version, kept = 0x20080522, ~0b110 & 0xFFFFFFFF  # 1: CAP_DAC_OVERRIDE, 2: CAP_DAC_READ_SEARCH
        header = (ctypes.c_uint32 * 2)(version, 0)
        sets = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capget(header, sets):
            raise OSError(ctypes.get_errno(), "capget")
        for i in range(3):  # effective, permitted, inheritable
            sets[i] &= kept
        if libc.capset(header, sets):
            raise OSError(ctypes.get_errno(), "capset")


def _ended(pid: int, output: Path) -> Outcome:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit, status = time.monotonic() + LONGEST, None
    while True:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(code)
            break
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.005)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(status, output.read_text(encoding="utf-8", errors="replace"), seconds)
