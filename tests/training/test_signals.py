"""Signals: collected by a loop, fatal at once elsewhere; in separate processes, whose handlers are their own."""

import signal
import subprocess
import sys

import pytest

BEGIN = """
import hashlib, os, signal, sys
from rmjax.training.signals import catch_signals, ended_at_once
def compute():  # as a compilation, it does not return to the interpreter for minutes
    print("computing", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
CASES = {
    "outside of a loop": "with ended_at_once(): compute()",
    "after a loop": "with ended_at_once():\n    with catch_signals(): pass\n    compute()",
    "the second one in a loop": (
        "with ended_at_once():\n    with catch_signals() as caught:\n"
        "        os.kill(os.getpid(), int(sys.argv[1]))\n        assert caught == [int(sys.argv[1])]\n        compute()"
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_a_process_at_once_and_says_how_to_go_on(case, number):
    command = [sys.executable, "-c", BEGIN + CASES[case], str(int(number))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "computing\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert errors.strip() == f"ended by {number.name}; the same command goes on from what is saved"


def test_the_handlers_before_are_those_after():
    program = BEGIN + (
        "def state(): return [signal.getsignal(n) for n in (2, 15, 1)], signal.set_wakeup_fd(-1)\n"
        "before = state()\n"
        "with ended_at_once():\n    with catch_signals() as caught: os.kill(os.getpid(), 15)\n"
        "assert caught == [15]\n"
        "assert state() == before\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
