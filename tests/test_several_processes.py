"""Runs of two processes with two devices each, compared with one process with four devices."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from scripts import ROOT, command, environment
from test_command_line import SMALL

from rmjax.parallel.layout import make_layout
from rmjax.scoring.checkpoint import load_tree
from rmjax.scoring.run_checkpoints import find_checkpoint


def free_address() -> str:
    """An address that no process listens at."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def start(workdir: Path, processes: int, devices: int, *more: str) -> list[subprocess.Popen]:
    """The run `workdir`, begun in so many processes of so many devices each."""
    address = free_address()
    arguments = [f"--config={ROOT}/configs/helpful.py:scratch", f"--workdir={workdir}", *SMALL, *more]
    if processes > 1:
        arguments += [f"--coordinator={address}", f"--processes={processes}"]
    return [
        subprocess.Popen(
            command("train", *arguments, *([f"--process={i}"] if processes > 1 else [])),
            env={**environment(), "JAX_NUM_CPU_DEVICES": str(devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]


def finish(running: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """(exit status, stdout, stderr) of every process, which are killed after five minutes."""
    try:
        return [(process.returncode, *texts) for process in running for texts in [process.communicate(timeout=300)]]
    finally:
        for process in running:
            process.kill()


def parameters(workdir: Path):
    return jax.tree.map(
        np.asarray, load_tree(find_checkpoint(workdir) / "params", layout=make_layout(layout="pmap", devices=1))
    )


def rows(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, four devices, parameters replicated."""
    workdir = tmp_path_factory.mktemp("runs") / "alone"
    ((status, _, errors),) = finish(start(workdir, 1, 4))
    assert status == 0, errors
    return workdir


def assert_same_run(workdir, alone):
    def close(here, there):
        np.testing.assert_allclose(here, there, rtol=0, atol=2e-5 * max(1, np.abs(there).max()))

    jax.tree.map(close, parameters(workdir), parameters(alone))
    for here, there in zip(rows(workdir), rows(alone), strict=True):
        assert here["step"] == there["step"]
        for name in {"loss", "validation_loss"} & there.keys():
            assert here[name] == pytest.approx(there[name], abs=1e-4)
    here, there = (json.loads((path / "evaluation.json").read_text()) for path in (workdir, alone))
    assert here["loss"] == pytest.approx(there["loss"], abs=1e-4)


def test_two_processes_reach_the_parameters_of_one(alone, tmp_path):
    """SFT, training, evaluation, checkpoints and figures; the first process alone speaks and writes."""
    workdir = tmp_path / "together"
    first, second = finish(start(workdir, 2, 2))
    assert first[0] == 0, first[2]
    assert second[0] == 0, second[2]
    assert "Everything is in" in first[1]
    assert second[1] == ""
    assert_same_run(workdir, alone)
    assert (workdir / "figures" / "training.png").is_file()


def test_a_signal_to_one_process_stops_both_and_one_process_goes_on(alone, tmp_path):
    """The second process gets a signal while parameters are sharded; one process with four devices resumes the run."""
    workdir, layout = tmp_path / "stopped", "--config.parallel.layout=fsdp"
    running = start(workdir, 2, 2, layout)
    until = time.monotonic() + 200
    log = workdir / "metrics.jsonl"
    while not (log.is_file() and log.stat().st_size) and running[1].poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    running[1].send_signal(signal.SIGTERM)
    for status, _, errors in finish(running):
        assert status == 128 + signal.SIGTERM, errors
    assert not (workdir / "evaluation.json").exists()
    ((status, printed, errors),) = finish(start(workdir, 1, 4, layout))
    assert status == 0, errors
    assert "resuming" in printed
    assert_same_run(workdir, alone)


def test_processes_that_are_half_named_are_refused(tmp_path):
    ((status, _, errors),) = finish(start(tmp_path, 1, 1, "--coordinator=localhost:1"))
    assert status == 1
    assert "--coordinator, --processes and --process belong together" in errors
