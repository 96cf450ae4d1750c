"""The server as a process: from a checkpoint to a score, its errors, and its end."""

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from running_server import send
from scripts import ROOT, environment

from rmjax.scoring.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def command(reward_model, tokenizer, tmp_path_factory):
    """The beginning of a command that serves a saved model."""
    root = tmp_path_factory.mktemp("run") / "checkpoints"
    params = reward_model.layout.unreplicate(reward_model.params)
    optimizer = {"step": np.zeros((), np.int32)}
    save_checkpoint(root, reward_model.contract, tokenizer, params, optimizer, keep=1)
    script = str(ROOT / "experiments" / "serve.py")
    return [sys.executable, script, f"--checkpoint={root.parent}", "--port=0", "--max_batch=64"]


def test_a_checkpoint_is_served_until_it_is_told_to_end(command, reward_model):
    process = subprocess.Popen([*command, "--head=safety"], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout.readline().startswith("loading ")
    line = process.stdout.readline()
    port = int(line.split()[0].rpartition(":")[2])
    assert "heads helpful, safety" in line
    texts = ["Paris.", "I will not help."]
    status, answer, _ = send(port, "/get_reward", {"query": ["Why?" + text for text in texts], "prompts": ["Why?"] * 2})
    assert status == 200
    np.testing.assert_allclose(
        answer["rewards"], reward_model.score("Why?", texts, head="safety"), rtol=1e-4, atol=1e-5
    )
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "stopped: every request that was taken is answered\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host=0.0.0.0"], "set the environment variable RMJAX_TOKEN"),
        (["--max_waiting=0"], "waiting_tokens must be at least 1"),
        ([], "this model has several heads, name one: helpful, safety"),
    ],
)
def test_a_wrong_setting_is_one_sentence(command, arguments, message):
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    assert re.sub(r"loading \S+ \.\.\.\n", "", done.stdout) == ""  # it never says that it serves
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
