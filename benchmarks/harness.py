"""Worker processes that take turns, for throughput benchmarks that compare programs in one run.

Every contender runs in a separate process, so that its memory and its start time can be measured. The contenders take
turns round by round, so that changes in the speed of the machine affect all of them. A worker answers in JSON lines on
its standard output. Other output of libraries goes to standard error.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]

OURS = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # as `rmjax.cli.runtime.prepare_process` sets for scripts


class Contender:
    """A worker process of `script` with the settings `spec`; the constructor returns after its first step."""

    def __init__(self, script: str, spec: Row) -> None:
        self.spec = spec
        began = time.monotonic()
        environment = {**os.environ, **spec.get("environment", {})}
        self.process = subprocess.Popen(
            [sys.executable, script, "--worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.facts = self._read()
        self.first_step = time.monotonic() - began

    def round(self) -> Row:
        """Runs one more round; returns the report of the worker."""
        self._send("round")
        return self._read()

    def close(self) -> Row:
        """Ends the worker; returns its last report, with its memory."""
        self._send("end")
        last = self._read()
        self.process.stdin.close()
        self.process.wait()
        return last

    def _send(self, word: str) -> None:
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def _read(self) -> Row:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker {self.spec} ended with status {self.process.wait()}; see what it wrote above")
        return json.loads(line)


def serve(start: Callable[[], Row], one_round: Callable[[], Row], memory: Callable[[], float]) -> None:
    """Runs a worker: start, then a round for each request, then a report of its peak memory in GB."""
    talk = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # from here on, output of libraries goes to standard error

    def say(row: Row) -> None:
        talk.write(json.dumps(row) + "\n")
        talk.flush()

    say(start())
    for word in sys.stdin:
        if word.strip() == "end":
            say({"memory": memory()})
            return
        say(one_round())


def resident_peak() -> float:
    """Returns the peak resident memory of this process, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def device_peak() -> float:
    """Returns the peak memory of jax on the first GPU or TPU, in GB; that of this process on a CPU."""
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats["peak_bytes_in_use"] / 1e9 if "peak_bytes_in_use" in stats else resident_peak()


def torch_peak() -> float:
    """Returns the peak memory of torch on its GPU, in GB; that of this process without one."""
    import torch

    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else resident_peak()


def take_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, list[Row]]:
    """Runs `rounds` rounds of every contender, in turn; every second round has the reverse order."""
    results: dict[str, list[Row]] = {name: [] for name in contenders}
    for turn in range(rounds):
        names = list(contenders) if turn % 2 == 0 else list(reversed(contenders))
        for name in names:
            results[name].append(contenders[name].round())
    return results


def median(rounds: Sequence[Row], name: str) -> float:
    """Returns the median of a figure over the rounds."""
    return float(np.median([row[name] for row in rounds]))


def ratio(numerator: Sequence[Row], denominator: Sequence[Row], name: str) -> tuple[float, float, float]:
    """Returns the median, the smallest and the largest ratio of a figure, computed round by round."""
    ratios = [a[name] / b[name] for a, b in zip(numerator, denominator, strict=True)]
    return float(np.median(ratios)), min(ratios), max(ratios)


def matmul_peak(dtype: str, size: int = 4096, tries: int = 5) -> float:
    """Returns the FLOP/s of the fastest of several square matrix products in jax, accumulated in float32."""
    import jax
    import jax.numpy as jnp

    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=jnp.float32))
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(tries):
        began = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def markdown(rows: Sequence[Row]) -> str:
    """Returns a Markdown table of rows that share their columns."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(row[name]) for name in head) + " |" for row in rows)])


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rows as JSON."""
    path.write_text(json.dumps(list(rows), indent=1) + "\n", encoding="utf-8")
