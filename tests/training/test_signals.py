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
}
IN_A_LOOP = {
    "the first one between steps": (
        "with ended_at_once():\n    with catch_signals() as caught:\n"
        "        os.kill(os.getpid(), int(sys.argv[1]))\n        assert caught == [int(sys.argv[1])]\n        compute()"
    ),
    "both in one step": "with ended_at_once():\n    with catch_signals(): compute()",
}
ANSWER = "{0}: stops and saves after this step; a second {0} ends at once"
END = "ended by {0}; the same command goes on from what is saved"
SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)


def start(program, number):
    """The process of a program, which computes."""
    command = [sys.executable, "-c", BEGIN + program, str(int(number))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "computing\n"
    return process


@pytest.mark.parametrize("case", CASES)
@SIGNALS
def test_a_signal_ends_a_process_at_once_and_says_how_to_go_on(case, number):
    process = start(CASES[case], number)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert errors.strip() == END.format(number.name)


@pytest.mark.parametrize("case", IN_A_LOOP)
@SIGNALS
def test_in_a_loop_the_first_signal_is_answered_at_once_and_the_second_one_ends_the_process(case, number):
    process = start(IN_A_LOOP[case], number)
    if case == "both in one step":
        process.send_signal(number)
    assert [process.stderr.readline() for _ in range(2)] == ["\n", ANSWER.format(number.name) + "\n"]
    assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert errors.strip() == END.format(number.name)


def test_the_handlers_before_are_those_after():
    program = BEGIN + (
        "def state(): return [signal.getsignal(n) for n in (2, 15, 1)], signal.set_wakeup_fd(-1)\n"
        "before = state()\n"
        "with ended_at_once():\n    with catch_signals() as caught: os.kill(os.getpid(), 15)\n"
        "assert caught == [15]\n"
        "assert state() == before\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
