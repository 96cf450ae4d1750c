"""Lock of a run directory: one process at a time, and none that is stale."""

import os
import signal
import subprocess
import sys

import pytest

from rmjax.errors import InputError
from rmjax.training.lock import NAME, locked

HOLDER = """
import sys
from pathlib import Path
from rmjax.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path, holder):
    sentence = rf"run is in use by process {holder.pid} on .+, started 2.+: wait, or give another --workdir"
    with pytest.raises(InputError, match=sentence), locked(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / NAME).is_file()
    with locked(tmp_path / "run"):
        pass


def test_a_released_lock_leaves_no_file(tmp_path):
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / NAME).is_file()
    assert not any((tmp_path / "run").iterdir())
    with locked(tmp_path / "run"), pytest.raises(InputError, match="in use"), locked(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_locked_is_named(tmp_path, monkeypatch, capsys):
    def refused(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refused)
    with locked(tmp_path / "run"):
        assert "run cannot be locked (Operation not supported)" in capsys.readouterr().err
