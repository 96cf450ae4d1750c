"""A policy of two processes with two devices each, compared with one process with four devices."""

import json
import subprocess

import jax
import numpy as np
import pytest
from scripts import ROOT, call, command, environment
from test_command_line import SMALL
from test_several_processes import finish, free_address, parameters

RATE = 1e-3
FIELDS = {
    "data.train": "gold/helpful[:24]",
    "data.eval": "gold/helpful[:6]",
    "data.validation_prompts": 4,
    "rollout.prompts": 5,
    "rollout.max_response": 6,
    "algorithm.samples": 3,
    "algorithm.minibatches": 1,
    "train.max_steps": 3,
    "train.evaluate_every": 2,
    "train.checkpoint_every": 2,
    "train.select": "last",
    "train.optimizer.learning_rate": RATE,
    "stop.cut": 0.0,
    "stop.score": 0.0,
    "evaluation.bootstrap": 10,
}


def start(workdir, reward, processes, devices):
    """The run `workdir`, begun in so many processes of so many devices each."""
    arguments = [f"--config={ROOT}/configs/ppo.py:scratch", f"--workdir={workdir}"]
    arguments += [f"--config.{name}={value}" for name, value in {**FIELDS, "reward": reward}.items()]
    if processes > 1:
        arguments += [f"--coordinator={free_address()}", f"--processes={processes}"]
    return [
        subprocess.Popen(
            command("ppo", *arguments, *([f"--process={i}"] if processes > 1 else [])),
            env={**environment(), "JAX_NUM_CPU_DEVICES": str(devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]


def test_two_processes_train_the_policy_of_one(tmp_path):
    """PPO with its value function: the same samples, and parameters within rounding.

    Adam divides a gradient by its own size, so a rounded gradient near 0 moves a parameter by a share of the rate.
    """
    reward = tmp_path / "reward"
    done = call("train", f"--config={ROOT}/configs/helpful.py:scratch", f"--workdir={reward}", *SMALL)
    assert done.returncode == 0, done.stderr
    for name, processes in (("together", 2), ("alone", 1)):
        for status, _, errors in finish(start(tmp_path / name, reward, processes, 4 // processes)):
            assert status == 0, errors
    samples = [
        [
            {key: record[key] for key in ("step", "prompt", "response")}
            for record in map(json.loads, (tmp_path / name / "samples.jsonl").read_text().splitlines())
        ]
        for name in ("together", "alone")
    ]
    assert samples[0] == samples[1]
    assert {record["step"] for record in samples[0]} == {0, 2, 3}

    def close(here, there):
        np.testing.assert_allclose(here, there, rtol=0, atol=0.1 * RATE)

    policy = parameters(tmp_path / "alone")
    jax.tree.map(close, parameters(tmp_path / "together"), policy)
    before = parameters(reward / "sft")
    moved = jax.tree.map(lambda here, there: np.abs(here - there).max(), policy["trunk"], before["trunk"])
    assert min(jax.tree.leaves(moved)) > RATE
    here, there = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("together", "alone"))
    assert here["sampled"]["after"]["score"] == pytest.approx(there["sampled"]["after"]["score"], abs=1e-3)
