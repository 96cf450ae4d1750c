"""Loop of an RL run: iterations, evaluations, checkpoints, stop rules, and the exact continuation of a stopped run."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rmjax.data.batch import BatchShape
from rmjax.errors import InputError
from rmjax.evaluation.bootstrap import Bootstrap
from rmjax.evaluation.evaluate import json_safe
from rmjax.models.sampling import Sampler
from rmjax.parallel.layout import Layout
from rmjax.parallel.processes import sync_processes
from rmjax.rlhf.iteration import Learner, NotFinite
from rmjax.rlhf.rollout import language_model_params
from rmjax.rlhf.scores import of_responses
from rmjax.scoring.checkpoint import load_tree, save_checkpoint
from rmjax.scoring.contract import Contract, read_contract
from rmjax.scoring.run_checkpoints import (
    find_checkpoint,
    last_checkpoint,
    list_checkpoints,
    remove_checkpoints,
    remove_later,
)
from rmjax.stages.rl_evaluation import Evaluator, Measured, sample_lines, sign_of_exploitation, summarize
from rmjax.stages.rl_log import (
    Stop,
    console_line,
    evaluation_line,
    metrics_row,
    stop_of_evaluation,
    stop_of_iteration,
    stop_of_patience,
    verdict,
)
from rmjax.stages.rl_models import StartModels
from rmjax.stages.rl_prompts import Prompts, batch_indices
from rmjax.stages.rl_rewards import Rewards
from rmjax.stages.rl_settings import RlSettings
from rmjax.training.run import RunDirectory
from rmjax.training.signals import Interrupted, catch_signals, stop_requested
from rmjax.training.step import TrainState, all_finite

PREFIX = "validation/"  # of the metrics of an evaluation in metrics.jsonl
RESAMPLES = 500  # of the bootstrap of evaluations during training


@dataclasses.dataclass
class Trainer:
    """The loop of a run and its state.

    Attributes:
        settings: the settings.
        run: the run directory.
        layout: the devices.
        start: the models before RL.
        contract: of the checkpoints, without the fields that change.
        learner: runs an iteration.
        rewards: the reward terms.
        evaluator: measures policies.
        sampler: of the held-out evaluations.
        prompts: to train on.
        validation: held-out prompts.
        gold: names of the gold rewards of the prompts.
        state: policy, value function and optimizer, on the devices.
        coef: coefficient of the KL penalty of the next iteration.
        done: iterations that the state has done.
        rows: the logged metrics of all iterations.
    """

    settings: RlSettings
    run: RunDirectory
    layout: Layout
    start: StartModels
    contract: Contract
    learner: Learner
    rewards: Rewards
    evaluator: Evaluator
    sampler: Sampler
    prompts: Prompts
    validation: Prompts
    gold: Sequence[str]
    state: TrainState
    coef: float
    done: int = 0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        # An update that fails has donated the state, whose shapes `restore` needs.
        saved = self.layout.unreplicate(self.state)
        self.shapes: TrainState = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved)
        self.before = self.evaluator.measure(self.sampler, self.learner.reference, self.validation)
        for term in self.rewards.trained.values():
            term.begin(self.before.rollout)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def fit(self) -> Stop:
        """Runs iterations until a rule or the maximum number of steps ends the run. Returns which.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state was saved.
        """
        if list_checkpoints(self.run.checkpoints):
            self.resume()
        else:
            self.run.rewind(-1)
            self.evaluate()
            self.save()
        stop = self.broken_rule()
        if stop is None and self.done < self.settings.train.max_steps:
            print("compiling: the first iteration takes longer than the others", flush=True)
        with catch_signals() as caught:
            while stop is None and self.done < self.settings.train.max_steps:
                try:
                    self.iterate()
                    stop = self.after_iteration(stop_requested(caught, True), caught)
                except NotFinite as error:
                    return self.last_good_state(error)
            # A signal in the last iteration, or in the evaluation or the save after it, to any process.
            if stop_requested(caught, True):
                print(f"\nstopped after the last step, {self.done}, saved; the same command goes on", file=sys.stderr)
                raise Interrupted(128 + (caught or [signal.SIGTERM])[0])
        if stop is None:
            stop = Stop("max_steps", f"the maximum number of steps, {self.settings.train.max_steps}, is done")
        return stop

    def iterate(self) -> None:
        """Runs one iteration, and logs its metrics.

        Raises:
            NotFinite: a metric is not finite.
        """
        began, rollout = time.monotonic(), self.settings.rollout
        indices = batch_indices(len(self.prompts), rollout.prompts, seed=self.settings.seed, step=self.done)
        batch = self.prompts.take(indices)
        found = self.learner.run(self.state, self.coef, batch.prompts, batch.ids, self.done)
        self.state, self.coef, self.done = found.state, found.coef, self.done + 1
        row: dict[str, float] = {"step": self.done}
        row |= metrics_row(found.metrics, [term.name for term in self.rewards.terms])
        row["objective/rlhf_reward"] = row["objective/scores"] - row["objective/kl_coef"] * row["objective/kl"]
        for name in self.gold:
            row[f"gold/{name}"] = float(of_responses(self.evaluator.scores[f"gold_{name}"])(found.rollout).mean())
        row["seconds/total"] = time.monotonic() - began
        bad = [name for name, value in row.items() if not math.isfinite(value) and name != "objective/kl_error"]
        if bad:
            raise NotFinite(f"{bad[0]} is not finite in iteration {self.done}: lower the learning rate")
        if not all_finite(self.layout.unreplicate(self.state).params):
            raise NotFinite(f"a weight is not finite after iteration {self.done}: lower the learning rate")
        self.run.log(row)
        self.rows.append(row)

    def after_iteration(self, signalled: bool, caught: list[int]) -> Stop | None:
        """Evaluates, saves, and prints what is due. Returns the rule that ends the run, if any.

        Raises:
            Interrupted: a signal came, and the state was saved.
        """
        train = self.settings.train
        row = self.rows[-1]
        stop = stop_of_iteration(row, self.settings.stop, self.settings.rollout.max_response)
        last = stop is not None or self.done == train.max_steps
        if self.done % train.log_every == 0 or last:
            print(console_line(row, self.gold), flush=True)
        if self.done % train.evaluate_every == 0 or last:
            found = self.evaluate()
            print(verdict(self.rows, self.gold), flush=True)
            stop = stop or self.high_enough(found) or self.no_progress()
            last = last or stop is not None
        if last or signalled or (train.checkpoint_every and self.done % train.checkpoint_every == 0):
            self.save()
        if signalled and not last:
            print(f"\nstopped at step {self.done}, saved; the same command resumes", file=sys.stderr)
            raise Interrupted(128 + (caught or [signal.SIGTERM])[0])
        return stop

    def broken_rule(self) -> Stop | None:
        """Returns the rule that the last iteration or evaluation of a resumed run breaks, if any."""
        rows = [row for row in self.run.metrics() if row["step"] == self.done]
        for row in rows:
            if "objective/scores" in row:
                if found := stop_of_iteration(row, self.settings.stop, self.settings.rollout.max_response):
                    return found
            elif self.done and (found := self.high_enough(_unprefixed(row))):
                return found
        return self.no_progress()

    def high_enough(self, found: dict[str, Any]) -> Stop | None:
        """Returns the rule `score` if an evaluation has reached it."""
        return stop_of_evaluation(found, self.settings.stop, self.settings.rewards.weight)

    def no_progress(self) -> Stop | None:
        """Returns the rule `patience` if the evaluations so far break it."""
        return stop_of_patience(list(self.evaluated().values()), self.settings.stop.patience)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, Any]:
        """Measures the policy on the held-out prompts, and logs the result and some responses.

        Raises:
            NotFinite: the score or the KL divergence is not finite.
        """
        measured: Measured = self.before
        if self.done:
            measured = self.evaluator.measure(self.sampler, self.state.params, self.validation)
        found = json_safe(summarize(measured, self.before, Bootstrap(RESAMPLES, self.settings.seed)))
        if found["score"] is None or found["kl"] is None:  # NaN and infinity are None in JSON
            name = "score" if found["score"] is None else "KL divergence"
            raise NotFinite(f"the {name} of the evaluation at step {self.done} is not finite: lower the learning rate")
        self.run.log({"step": self.done, **{f"{PREFIX}{name}": value for name, value in found.items()}})
        for record in sample_lines(measured, self.done, self.settings.train.samples):
            self.run.log_sample(record)
        sync_processes(f"logged the evaluation of step {self.done}")  # every process reads it
        print(evaluation_line(self.done, found, "held-out prompts"), flush=True)
        if warning := sign_of_exploitation(measured, self.before, self.settings.rewards.weight):
            print(f"warning: {warning}", file=sys.stderr)
        return found

    def evaluated(self) -> dict[int, float]:
        """Returns rewards.weight times the held-out score, minus kl.coef times KL, by the step of the evaluation."""
        coef, weight = self.settings.algorithm.kl.coef, self.settings.rewards.weight
        return {
            row["step"]: weight * row[f"{PREFIX}score"] - coef * row[f"{PREFIX}kl"]
            for row in self.run.metrics()
            if f"{PREFIX}score" in row
        }

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes a checkpoint: the language model, and everything else that a resumed run needs."""
        saved = self.layout.unreplicate(self.state)
        policy, rest = language_model_params(saved.params), self.training_state(saved)
        # JSON keeps every bit of a float.
        changing = {"kl_coef": self.coef, "minibatch_shape": self.learner.shape and list(self.learner.shape)}
        data = {**self.contract.data, "rl": changing}
        contract = dataclasses.replace(self.contract, step=self.done, data=data)
        # Old checkpoints are deleted below, because the best one is kept.
        keep, logs = sys.maxsize, self.run.logs
        save_checkpoint(self.run.checkpoints, contract, self.start.tokenizer, policy, rest, keep=keep, logs=logs)
        kept = {*self.checkpoint_steps()[-self.settings.train.keep :], self.best_step()}
        remove_checkpoints([path for path in list_checkpoints(self.run.checkpoints) if int(path.name) not in kept])

    def resume(self) -> None:
        """Restores the last undamaged checkpoint, and removes from the logs what came after it."""
        path = last_checkpoint(self.run.checkpoints)
        self.restore(path)
        self.run.rewind(self.done, path)
        self.rows = [row for row in self.run.metrics() if "objective/scores" in row]
        print(f"resuming {self.run.path} at step {self.done}")

    def restore(self, path: Path) -> None:
        """Restores a checkpoint, and deletes later ones."""
        remove_later(path)
        policy = language_model_params(self.shapes.params)
        rest = load_tree(path / "optimizer", self.training_state(self.shapes), layout=self.layout)
        params = {**load_tree(path / "params", policy, layout=self.layout), **rest.get("critic", {})}
        self.state = self.layout.device_put(TrainState(rest["step"], params, rest["opt_state"]))
        for name, state in rest.get("rewards", {}).items():
            self.rewards.trained[name].write(jax.tree.map(lambda x: jnp.asarray(x.addressable_shards[0].data), state))
        contract = read_contract(path / "contract.json")
        shape = contract.data["rl"]["minibatch_shape"]
        self.coef, self.done = contract.data["rl"]["kl_coef"], contract.step
        self.learner.shape = BatchShape(*shape) if shape else None

    def training_state(self, state: TrainState) -> dict[str, Any]:
        """Returns what resuming needs besides the language model, for a state that is not replicated."""
        rest: dict[str, Any] = {"step": state.step, "opt_state": state.opt_state}
        policy = language_model_params(state.params)
        if critic := {name: part for name, part in state.params.items() if name not in policy}:
            rest["critic"] = critic
        if trained := {name: term.read() for name, term in self.rewards.trained.items()}:
            # Every process has the same; a checkpoint holds arrays of all processes.
            rest |= self.layout.unreplicate(self.layout.device_put({"rewards": trained}))
        return rest

    def checkpoint_steps(self) -> list[int]:
        """Returns the steps of the checkpoints, in order."""
        return [int(path.name) for path in list_checkpoints(self.run.checkpoints)]

    def best_step(self) -> int:
        """Returns the step of the checkpoint with the best evaluation, or the last one if the settings say so.

        The best has the highest mean held-out score times rewards.weight, minus kl.coef times KL divergence.
        """
        steps = self.checkpoint_steps()
        if self.settings.train.select == "last":
            return steps[-1]
        values = {step: value for step, value in self.evaluated().items() if step in steps}
        return max(values, key=lambda step: (values[step], -step), default=steps[-1])

    def select(self) -> int:
        """Restores the best checkpoint, and deletes later ones. Returns its step."""
        best = self.best_step()
        if best != self.done:
            print(f"the best checkpoint on held-out prompts is that of step {best}: later ones are deleted")
            self.restore(self.run.checkpoints / f"{best:06d}")
        return best

    def last_good_state(self, error: InputError) -> Stop:
        """Restores the last checkpoint after an update that was not finite."""
        self.restore(find_checkpoint(self.run.checkpoints))
        return Stop("not_finite", f"{error}; the policy is that of step {self.done}, the last good checkpoint")


def _unprefixed(row: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(PREFIX): value for name, value in row.items()}
