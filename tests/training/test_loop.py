"""The training loop: logs, checkpoints, errors, signals, and equal results after resuming."""

import math
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from naive import random_examples
from tqdm import tqdm

from rmjax.data.loader import BatchStream
from rmjax.errors import InputError
from rmjax.parallel.layout import Pmap
from rmjax.training.callbacks import Callback
from rmjax.training.loop import fit
from rmjax.training.objectives import LossConfig, ranking_objective
from rmjax.training.optimizer import OptimizerConfig, make_optimizer
from rmjax.training.run import RunDirectory
from rmjax.training.signals import Interrupted, catch_signals
from rmjax.training.step import init_state, make_train_step

STOP = 10


class Setting:
    """A linear model on the last token, AdamW and two devices; compiled once for all tests."""

    def __init__(self):
        self.layout = Pmap(tuple(jax.devices()[:2]))
        self.stream = BatchStream(random_examples(20, seed=1), batch_size=4, epochs=2, row_length=64, shards=2, seed=0)
        self.optimizer, self.schedule = make_optimizer(
            OptimizerConfig(
                learning_rate=0.1,
                warmup_ratio=0.2,
                warmup_steps=0,
                final_ratio=0.1,
                b1=0.9,
                b2=0.95,
                eps=1e-8,
                weight_decay=0.01,
                clip_norm=1.0,
                moment_dtype="float32",
            ),
            STOP,
        )
        objective = ranking_objective(self.scores, LossConfig())
        self.step_fn = make_train_step(objective, self.optimizer, self.layout)

    @staticmethod
    def scores(params, batch):
        return params["table"][batch.tokens_RxL.reshape(-1)[batch.responses.score_index_N]][:, None]

    def start(self):
        table = jnp.asarray(np.random.default_rng(0).normal(size=50), jnp.float32)
        return init_state({"table": table}, self.optimizer)


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax mixes dtypes in its own arithmetic."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def setting():
    with jax.numpy_dtype_promotion("standard"):
        return Setting()


class Recorder:
    """Runs `fit` and keeps what was saved and when an evaluation was asked for."""

    def __init__(self, setting, path):
        self.setting, self.run = setting, RunDirectory(path, {})
        self.run.create({"train": "made up"}, "reward_model")
        self.saved, self.evaluated = {}, []

    def __call__(self, state=None, start=0, stop=STOP, cadence=(2, 4, 3), step_fn=None, on_evaluate=None):
        def save(state, step):
            self.saved[step] = jax.tree.map(np.asarray, self.setting.layout.unreplicate(state))

        def evaluate(state, step):
            assert int(self.setting.layout.unreplicate(state).step) == step
            self.evaluated.append(step)
            if on_evaluate:
                on_evaluate(step)
            return {"validation_loss": step / 10}

        log_every, evaluate_every, checkpoint_every = cadence
        return fit(
            self.setting.layout.device_put(state or self.setting.start()),
            step_fn or self.setting.step_fn,
            self.setting.stream,
            self.run,
            start=start,
            stop=stop,
            schedule=self.setting.schedule,
            log_every=log_every,
            callbacks=(Callback(evaluate, evaluate_every), Callback(save, checkpoint_every, on_stop=True)),
            title="test",
            unit="comparisons",
        )


@pytest.fixture
def recorder(setting, tmp_path):
    return Recorder(setting, tmp_path / "run")


@pytest.fixture(scope="module")
def uninterrupted(setting, tmp_path_factory):
    recorder = Recorder(setting, tmp_path_factory.mktemp("whole") / "run")
    with jax.numpy_dtype_promotion("standard"):
        recorder.final = setting.layout.unreplicate(recorder())
    return recorder


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_row_is_logged_at_its_step_with_the_metrics_of_that_step(setting, uninterrupted):
    """Against every step run by hand."""
    state, steps = setting.layout.device_put(setting.start()), []
    for step in range(STOP):
        state, metrics = setting.step_fn(state, setting.stream[step])
        steps.append({name: float(value) for name, value in metrics.items()})
    assert_same(setting.layout.unreplicate(state), uninterrupted.final)
    rows = [row for row in uninterrupted.run.metrics() if "loss" in row]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10]
    for row in rows:
        for name, value in steps[row["step"] - 1].items():
            assert row[name] == pytest.approx(value, rel=1e-6)
        assert row["learning_rate"] == pytest.approx(float(setting.schedule(row["step"] - 1)))
        assert {"accuracy", "gap", "grad_norm", "seconds"} <= row.keys()
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_the_last_step_has_a_row_whatever_the_cadence(recorder):
    recorder(stop=7, cadence=(3, 0, 0))
    assert [row["step"] for row in recorder.run.metrics() if "loss" in row] == [3, 6, 7]


def test_a_row_does_not_depend_on_how_often_rows_are_written(recorder, uninterrupted):
    recorder(cadence=(5, 0, 0))
    mine = {row["step"]: row["loss"] for row in recorder.run.metrics() if "loss" in row}
    whole = {row["step"]: row["loss"] for row in uninterrupted.run.metrics() if "loss" in row}
    assert sorted(mine) == [5, 10]
    assert mine[10] == whole[10]


def test_evaluations_and_checkpoints_come_at_their_steps_and_at_the_end(uninterrupted):
    assert uninterrupted.evaluated == [4, 8, 10]
    assert sorted(uninterrupted.saved) == [3, 6, 9, 10]
    rows = [row for row in uninterrupted.run.metrics() if "validation_loss" in row]
    assert rows == [{"step": step, "validation_loss": step / 10} for step in (4, 8, 10)]
    assert all(int(state.step) == step for step, state in uninterrupted.saved.items())


def test_zero_means_only_at_the_end(recorder):
    recorder(stop=3, cadence=(1, 0, 0))
    assert recorder.evaluated == [3]
    assert list(recorder.saved) == [3]


@pytest.mark.parametrize("step", [3, 6, 9])
def test_resuming_from_a_checkpoint_gives_exactly_the_same_parameters(recorder, setting, uninterrupted, step):
    state = jax.tree.map(jnp.asarray, uninterrupted.saved[step])
    assert_same(setting.layout.unreplicate(recorder(state, start=step)), uninterrupted.final)


def test_a_finished_state_runs_no_step(recorder, setting, uninterrupted):
    state = jax.tree.map(jnp.asarray, uninterrupted.saved[10])
    assert_same(setting.layout.unreplicate(recorder(state, start=STOP)), uninterrupted.final)
    assert not recorder.saved


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_saves_the_step_and_resuming_ends_the_same(recorder, setting, uninterrupted, number, status):
    """The signal comes during the evaluation after step 4, where no checkpoint is due."""
    before = signal.getsignal(number)

    def strike(step):
        if step == 4:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as stopped:
        recorder(on_evaluate=strike)
    assert stopped.value.code == status
    assert sorted(recorder.saved) == [3, 4]
    assert signal.getsignal(number) == before
    assert [row["step"] for row in recorder.run.metrics()] == [2, 4, 4]
    state = jax.tree.map(jnp.asarray, recorder.saved[4])
    recorder.run.rewind(4)
    assert_same(setting.layout.unreplicate(recorder(state, start=4)), uninterrupted.final)
    mine, whole = ([{**row, "seconds": 0} for row in r.run.metrics()] for r in (recorder, uninterrupted))
    assert mine == whole


def test_a_signal_during_a_step_saves_after_it(recorder, setting):
    def step_fn(state, batch):
        state, metrics = setting.step_fn(state, batch)
        if int(setting.layout.unreplicate(state).step) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return state, metrics

    with pytest.raises(Interrupted):
        recorder(step_fn=step_fn, cadence=(1, 0, 0))
    assert list(recorder.saved) == [5]
    assert int(recorder.saved[5].step) == 5
    assert [row["step"] for row in recorder.run.metrics()] == [1, 2, 3, 4, 5]


def test_a_signal_in_the_last_step_stops_the_run_after_its_save(recorder, capsys):
    """Otherwise the work that follows the loop would run to its end."""

    def strike(step):
        if step == STOP:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as stopped:
        recorder(on_evaluate=strike)
    assert stopped.value.code == 143
    assert max(recorder.saved) == STOP
    assert "the same command goes on" in capsys.readouterr().err


def test_an_ignored_hangup_stays_ignored():
    """As under nohup."""
    inherited = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not caught
    finally:
        signal.signal(signal.SIGHUP, inherited)


def test_a_second_signal_of_the_same_kind_works_as_usual():
    """As it does in Python: what a shell starts in the background ignores SIGINT, and these tests may be run there."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with catch_signals() as caught:
            os.kill(os.getpid(), signal.SIGINT)
            assert caught == [signal.SIGINT]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, inherited)


@pytest.mark.parametrize("bad_step", [3, 6, 10])
def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(recorder, setting, bad_step):
    """Steps 3, 6 and 10 would be saved; earlier checkpoints are unharmed."""

    def step_fn(state, batch):
        state, metrics = setting.step_fn(state, batch)
        if int(setting.layout.unreplicate(state).step) >= bad_step:
            metrics = {**metrics, "loss": metrics["loss"] * math.nan}
        return state, metrics

    with pytest.raises(InputError, match=rf"test: loss is not finite at step {bad_step}; no checkpoint has .*rate"):
        recorder(step_fn=step_fn)
    assert sorted(recorder.saved) == [step for step in (3, 6, 9) if step < bad_step]
    assert all(math.isfinite(row.get("loss", 0)) for row in recorder.run.metrics())


def test_the_estimated_time_leaves_the_first_step_out_which_compiles(recorder, setting, monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            bars.append(self)
            super().__init__(*args, **kwargs)
            self.created, self.titles = self.start_t, [self.desc]

        def set_description(self, desc=None, refresh=True):
            self.titles.append(desc)
            super().set_description(desc, refresh)

    def slow_at_first(state, batch):
        if int(setting.layout.unreplicate(state).step) == 0:
            time.sleep(0.5)
        return setting.step_fn(state, batch)

    monkeypatch.setattr("rmjax.training.loop.tqdm", Bar)
    recorder(step_fn=slow_at_first)
    (bar,) = bars
    assert bar.titles == ["test, compiling", "test"]
    assert bar.start_t - bar.created >= 0.5
    assert bar.n == bar.total == 40
    assert bar.initial == 4
