"""Settings of a script's process, made before jax is imported."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path


def prepare_process() -> None:
    """Prepares the process of a script: memory pages, compilation cache, CPU devices, and the path to `configs`.

    Call it before jax is imported. Environment variables that are already set are not changed.

    On Linux the script is started again, once. XLA on a CPU allocates gigabytes of scratch memory at every step, and
    the system clears them page by page, which took a fifth of the time of a step (benchmarks/RESULTS.md). Pages of 2 MB
    avoid this, and glibc reads the setting only when a program starts.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)
    # Compiled programs are cached on disk: a run whose shapes were seen before starts in seconds.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path("~/.cache/rmjax/compiled").expanduser()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # XLA gives most operations other than matrix products one core, so on a CPU every core is a device. More than four
    # would cost more memory than they save time, since each has a copy of the parameters.
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(min(4, os.cpu_count() or 1)))
    # Configurations import each other as `configs.NAME`, whatever the current folder is.
    sys.path.insert(0, str(repository()))
    # Reading data makes millions of objects and no cycles. Each garbage collection visits many of them again. With
    # configs/helpful.py this took a sixth of the CPU time up to the first step (benchmarks/RESULTS.md).
    gc.set_threshold(200_000)


def repository() -> Path:
    """Returns the folder that contains `experiments/` with the current script."""
    return Path(sys.argv[0]).resolve().parent.parent
