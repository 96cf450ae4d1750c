"""Run directories: configuration, metrics, and whether a run is finished."""

import json

import pytest

import rmjax
from rmjax.errors import InputError
from rmjax.training.environment import environment
from rmjax.training.run import RunDirectory, write_json
from rmjax.training.run_files import read_run

CONFIG = {"seed": 0, "data": {"train": "gold/helpful", "limit": None}, "heads": ("helpful", "safety")}


DATA = {"train": {"count": 3, "sha256": "ab"}, "test": {"count": 2, "sha256": "cd"}}


def created(path, config=CONFIG, data=DATA):
    run = RunDirectory(path, config)
    run.create(data, "reward_model")
    return run


def test_opening_writes_nothing(tmp_path):
    RunDirectory(tmp_path / "runs" / "new", CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_states_its_configuration_and_environment(tmp_path):
    run = created(tmp_path / "runs" / "new")
    assert json.loads((run.path / "config.json").read_text()) == json.loads(json.dumps(CONFIG))
    stated = json.loads((run.path / "environment.json").read_text())
    assert stated["rmjax"] == rmjax.__version__
    assert set(stated["packages"]) >= {"jax", "flax", "optax"}
    assert len(stated["devices"]) == 8
    assert not run.finished
    assert not list(run.path.glob("*.partial"))


def test_a_run_states_its_kind(tmp_path):
    RunDirectory(tmp_path, CONFIG).create(DATA, "reward_model")
    assert json.loads((tmp_path / "environment.json").read_text())["kind"] == "reward_model"


def test_the_same_configuration_opens_it_again(tmp_path):
    created(tmp_path / "run").log({"step": 1, "loss": 0.5})
    again = created(tmp_path / "run", {**CONFIG, "heads": ["helpful", "safety"]})
    assert again.metrics() == [{"step": 1, "loss": 0.5}]


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_run_states_its_data_and_goes_on_with_the_same(tmp_path):
    run = created(tmp_path / "run")
    assert json.loads((run.path / "data_fingerprint.json").read_text()) == DATA
    created(tmp_path / "run")
    assert json.loads((run.path / "data_fingerprint.json").read_text()) == DATA


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({**DATA, "train": {"count": 3, "sha256": "xy"}}, "train"),
        ({**DATA, "test": {"count": 4, "sha256": "cd"}}, "test"),
        ({name: {"count": 0, "sha256": ""} for name in DATA}, "train, test"),
        ({**DATA, "sft": {"count": 1, "sha256": "ef"}}, "sft"),
    ],
)
def test_other_data_under_the_same_names_are_refused_and_nothing_changes(tmp_path, data, names):
    run = created(tmp_path / "run")
    before = contents(run.path)
    with pytest.raises(
        InputError, match=rf"the data \({names}\) are not those of .*data_fingerprint.json: .*--workdir"
    ):
        created(tmp_path / "run", data=data)
    assert contents(run.path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"data": {"train": "hh", "limit": None}}, "data.train was 'gold/helpful' and is 'hh'"),
        ({"heads": ("helpful",)}, "heads was"),
        ({"new": 3}, "new was None and is 3"),
        ({"data": 5}, "data was"),
    ],
)
def test_another_configuration_is_refused_by_the_name_of_the_field(tmp_path, changes, message):
    created(tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(InputError, match=f"another configuration .*{message}.*another --workdir"):
        RunDirectory(tmp_path / "run", {**CONFIG, **changes})
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_a_foreign_directory_or_a_file_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        RunDirectory(tmp_path, CONFIG)
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(tmp_path / "thesis.tex", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["run.lock", "config.json.partial"])
def test_what_a_killed_process_left_is_no_foreign_file(tmp_path, name):
    (tmp_path / name).write_text("{")
    assert (created(tmp_path).path / "config.json").is_file()


def test_a_run_that_was_killed_before_its_fingerprint_goes_on(tmp_path):
    created(tmp_path / "run")
    (tmp_path / "run" / "data_fingerprint.json").unlink()
    created(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "data_fingerprint.json").read_text()) == DATA


def test_an_empty_directory_will_do(tmp_path):
    assert (created(tmp_path).path / "config.json").is_file()


def test_rows_are_lines_of_json_in_order(tmp_path):
    run = created(tmp_path / "run")
    assert run.metrics() == []
    rows = [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6}]
    for row in rows:
        run.log(row)
    assert run.metrics() == rows
    assert [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()] == rows


def test_rewinding_forgets_what_came_after_a_step(tmp_path):
    run = created(tmp_path / "run")
    run.rewind(5)
    for step in (2, 4, 4, 6):
        run.log({"step": step})
    run.rewind(4)
    assert [row["step"] for row in run.metrics()] == [2, 4, 4]
    run.rewind(0)
    assert run.metrics() == []


def test_a_line_torn_by_a_crash_does_not_stop_the_run_from_resuming(tmp_path):
    run = created(tmp_path / "run")
    run.log({"step": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    run.rewind(1)
    assert run.metrics() == [{"step": 1}]


def test_the_evaluation_marks_the_run_as_finished(tmp_path):
    run = created(tmp_path / "run")
    write_json(run.evaluation, {"accuracy": 0.75})
    assert run.finished
    assert RunDirectory(tmp_path / "run", CONFIG).read_evaluation() == {"accuracy": 0.75}


def test_figures_have_a_folder(tmp_path):
    path = created(tmp_path / "run").figure("curve.png")
    assert path == tmp_path / "run" / "figures" / "curve.png"
    assert path.parent.is_dir()


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": "é"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "é"}


def test_the_environment_can_be_written_down():
    assert json.loads(json.dumps(environment()))["processes"] == 1


def finished(path):
    """A run with a log, an audit, a figure, and results."""
    run = created(path)
    run.log({"step": 1, "loss": 0.5})
    write_json(run.data_audit, {"sets": {}})
    run.figure("training.png").write_bytes(b"\x89PNG")
    run.finish({"accuracy": 0.75})
    return run


def test_a_finished_run_gives_its_results_again(tmp_path):
    run = finished(tmp_path / "run")
    assert run.finished
    assert RunDirectory(run.path, CONFIG).read_evaluation() == {"accuracy": 0.75}
    listed = set(json.loads(run.manifest.read_text()))
    assert listed == {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()} - {
        "manifest.json"
    }


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "environment.json",
        "data_fingerprint.json",
        "data_audit.json",
        "metrics.jsonl",
        "figures/training.png",
        "evaluation.json",
    ],
)
def test_a_file_that_changed_after_the_run_is_noticed_by_its_command_and_by_its_readers(tmp_path, name):
    run = finished(tmp_path / "run")
    content = bytearray((run.path / name).read_bytes())
    content[-2] ^= 1
    (run.path / name).write_bytes(content)
    for read in (run.read_evaluation, lambda: read_run(run.path)):
        with pytest.raises(
            InputError, match=rf"{name}.*( has changed since it was written, by its manifest.json; delete|is not JSON)"
        ):
            read()
    run.evaluation.unlink()
    run.finish({"accuracy": 0.75})
    assert run.read_evaluation() == {"accuracy": 0.75}


def test_a_finished_run_of_an_earlier_version_has_no_manifest(tmp_path):
    run = finished(tmp_path / "run")
    run.manifest.unlink()
    assert run.read_evaluation() == {"accuracy": 0.75}


@pytest.mark.parametrize("damage", ["flipped", "empty", "missing", "sound"])
def test_a_log_is_that_of_the_checkpoint(tmp_path, capsys, damage):
    run, saved = created(tmp_path / "run"), tmp_path / "000002"
    saved.mkdir()
    for step in (1, 2):
        run.log({"step": step, "loss": 0.5})
    (saved / "metrics.jsonl").write_bytes(run.metrics_file.read_bytes())
    run.log({"step": 3, "loss": 0.25})
    content = run.metrics_file.read_bytes()
    if damage == "missing":
        run.metrics_file.unlink()
    elif damage != "sound":
        run.metrics_file.write_bytes(content.replace(b"0.5", b"0.7", 1) if damage == "flipped" else b"")
    run.rewind(2, saved)
    assert run.metrics() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.5}]
    assert ("metrics.jsonl was damaged" in capsys.readouterr().err) == (damage != "sound")


@pytest.mark.parametrize("name", ["config.json", "data_fingerprint.json", "metrics.jsonl"])
def test_a_file_that_is_not_json_is_named(tmp_path, name):
    run = created(tmp_path / "run")
    run.log({"step": 1})
    (run.path / name).write_bytes(b'{"step" 1}\n')
    with pytest.raises(InputError, match=rf"{name} .*is not JSON"):
        created(tmp_path / "run").rewind(1)
