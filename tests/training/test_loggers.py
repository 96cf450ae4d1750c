"""Loggers get exactly the rows of metrics.jsonl, each once, also when a run is resumed."""

import json
import math
import struct

import pytest

from rmjax.errors import InputError
from rmjax.training import loggers
from rmjax.training.loggers import logging_to, parse_loggers, scalars
from rmjax.training.run import RunDirectory

ROWS = [
    {"step": 1, "loss": 0.75, "seconds": 1},
    {"step": 2, "loss": 0.5, "seconds": 2},
    {"step": 2, "validation_loss": 0.625, "score_ci95": [0.25, 0.75], "note": None},
    {"step": 3, "loss": 0.25, "seconds": 3},
]


def begun(path, names, start, rows):
    """Runs a process of a run that begins after `start` steps and logs `rows`."""
    run = RunDirectory(path, {"seed": 0, "loggers": names})
    run.create({}, "reward_model")
    with logging_to(run, names):
        run.rewind(start)
        for row in rows:
            run.log(row)
    return run


def expected(run):
    """Every number of metrics.jsonl, by name and step."""
    return {(name, row["step"]): value for row in run.metrics() for name, value in scalars(row).items()}


def events(folder):
    """Every scalar of the event files in a folder, by name and step; a record is a length, its crc, data, their crc."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for file in folder.iterdir():
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
    return found


def sent(path):
    """Every number of the offline files of wandb, by name and step. They are LevelDB logs after a header of 7 bytes."""
    records = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    pytest.importorskip("wandb").teardown()  # its own process has written everything
    found, ids = {}, set()
    for file in sorted(path.glob("wandb/offline-run-*/*.wandb")):
        ids.add(file.stem)
        data, at, parts = file.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
            _, length, kind = struct.unpack_from("<IHB", data, at)
            parts += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record = records.Record.FromString(parts)
                parts = b""
                for item in record.history.item:
                    name = item.key or "/".join(item.nested_key)
                    if not name.startswith("_"):
                        assert (name, record.history.step.num) not in found
                        found[name, record.history.step.num] = json.loads(item.value_json)
    assert len(ids) == 1
    return found


@pytest.fixture
def offline(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))


def test_tensorboard_has_the_rows_and_after_a_resumption_no_others(tmp_path):
    pytest.importorskip("tensorboardX")
    run = begun(tmp_path / "run", "tensorboard", 0, ROWS)
    assert events(run.tensorboard) == expected(run)
    assert len(expected(run)) == 9
    for file in run.tensorboard.iterdir():  # its name has the second, in which the next file is made too
        file.rename(file.with_name(f"{file.name}.first"))
    again = begun(tmp_path / "run", "tensorboard", 2, [{"step": 3, "loss": 0.125}])  # not the same, to tell them apart
    assert events(again.tensorboard) == expected(again)
    assert events(again.tensorboard)["loss", 3] == 0.125


def test_wandb_gets_every_row_once(tmp_path, offline):
    run = begun(tmp_path / "run", "wandb", 0, ROWS)
    assert sent(run.path) == expected(run)
    begun(tmp_path / "run", "wandb", 1, [*ROWS[1:], {"step": 4, "loss": 0.0}])
    assert sent(run.path) == expected(run)
    assert sent(run.path)["loss", 4] == 0.0


def test_a_logger_that_is_added_later_gets_the_earlier_rows(tmp_path, offline):
    pytest.importorskip("tensorboardX")
    begun(tmp_path / "run", "", 0, ROWS[:2])
    run = begun(tmp_path / "run", "tensorboard,wandb", 1, ROWS[1:])
    assert events(run.tensorboard) == sent(run.path) == expected(run)


def test_another_configuration_is_still_refused(tmp_path):
    begun(tmp_path / "run", "", 0, ROWS[:1])
    with pytest.raises(InputError, match=r"another configuration \(seed was 0 and is 1, by its config.json\)"):
        RunDirectory(tmp_path / "run", {"seed": 1, "loggers": "wandb"})


def test_a_logger_is_closed_when_a_run_ends_early(tmp_path, monkeypatch):
    closed = []

    class Recorder:
        def __init__(self, run):
            self.rows = []

        def begin(self, rows, removed):
            self.rows += rows

        def log(self, row):
            self.rows.append(row)

        def close(self):
            closed.append(self.rows)

    monkeypatch.setitem(loggers.LOGGERS, "recorder", (Recorder, "json"))
    run = RunDirectory(tmp_path / "run", {})
    run.create({}, "reward_model")

    def interrupted():
        with logging_to(run, "recorder"):
            run.rewind(0)
            run.log(ROWS[0])
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        interrupted()
    assert closed == [[ROWS[0]]]
    run.log(ROWS[1])
    assert closed == [[ROWS[0]]]


def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch):
    assert parse_loggers("") == []
    with pytest.raises(InputError, match="loggers must be of tensorboard, wandb, joined by commas, found 'mlflow'"):
        parse_loggers("mlflow")
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'loggers=wandb needs the package wandb: pip install -e "\.\[wandb\]"'):
        parse_loggers("wandb")


def test_numbers_only():
    assert scalars({"step": 1, "a": math.pi, "b": "text", "c": [1, None]}) == {"a": math.pi, "c/0": 1}
