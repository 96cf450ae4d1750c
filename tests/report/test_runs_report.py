"""Tables of the runs of a folder, from hand-made run directories."""

import json
import os
import time

import pytest

from rmjax.errors import InputError
from rmjax.report.runs_report import find_runs, run_tables, runs_page, runs_text

CONFIG = {"seed": 0, "heads": ["helpful"], "init": "sft", "train": {"epochs": 1}, "data": {"eval": "gold/helpful"}}
ACCURACY = {"accuracy": 0.839, "accuracy_ci95": [0.833, 0.846]}


def make_run(path, kind, config, metrics=(), evaluation=None):
    """Writes a run directory, which was last written at noon of 2 January 2025."""
    path.mkdir(parents=True)
    files = {"config": config, "data_fingerprint": {}, "environment": {"kind": kind}, "evaluation": evaluation}
    for name, content in files.items():
        if content is not None:
            (path / f"{name}.json").write_text(json.dumps(content))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    for file in path.iterdir():
        os.utime(file, (time.mktime((2025, 1, 2, 12, 0, 0, 0, 0, -1)),) * 2)


def log(*seconds):
    return [{"step": 5 * i, "seconds": each} for i, each in enumerate(seconds, start=1)]


@pytest.fixture
def folder(tmp_path):
    other = {**CONFIG, "seed": 1, "train": {"epochs": 2}, "extra": "<b>"}
    make_run(tmp_path / "a", "reward_model", CONFIG, log(10, 20), {"heads": {"helpful": ACCURACY}})
    # It was resumed after 30 seconds, and has no result.
    make_run(tmp_path / "b" / "c", "reward_model", other, log(30, 10, 45))
    make_run(tmp_path / "a" / "sft", "language_model", {"seed": 0})
    make_run(tmp_path / "d", "language_model", {"seed": 0}, log(3700), {"loss": 1.2345, "perplexity": 3.4})
    after = {"score": 1.5, "score_ci95": [1, 2], "score_win_rate": 0.75, "score_win_rate_ci95": None, "kl": 3.21}
    rows = [{"step": i, "seconds/total": 60.0} for i in (1, 2)]
    make_run(tmp_path / "e", "policy", {"seed": 3}, rows, {"sampled": {"before": {}, "after": after}})
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "config.json").write_text("{}")
    return tmp_path


def test_a_run_inside_a_run_and_other_folders_are_left_out(folder):
    assert [path.relative_to(folder).as_posix() for path in find_runs(folder)] == ["a", "b/c", "d", "e"]


def test_results_and_differing_fields_by_kind(folder):
    rewards, language_models, policies = run_tables(folder)
    about = ("run", "state", "steps", "training", "last written")
    noon = "2025-01-02 12:00"
    assert rewards.heading == (*about, "accuracy", "seed", "train.epochs", "extra")
    assert rewards.rows == [
        ("a", "finished", "10", "0:00:20", noon, "83.9 % (83.3 to 84.6)", "0", "1", "-"),
        ("b/c", "not finished", "15", "0:01:15", noon, "-", "1", "2", "<b>"),
    ]
    assert language_models.heading == (*about, "loss", "perplexity")
    assert language_models.rows == [("d", "finished", "5", "1:01:40", noon, "1.234", "3.40")]
    assert policies.heading == (*about, "score after", "score wins", "KL")
    assert policies.rows == [("e", "finished", "2", "0:02:00", noon, "1.50 (1.00 to 2.00)", "75.0 %", "3.21")]


def test_several_heads_have_their_own_accuracies(tmp_path):
    heads = {"helpful": ACCURACY, "safety": {"accuracy": 0.7, "accuracy_ci95": None}, "honest": None}
    make_run(tmp_path / "run", "reward_model", CONFIG, log(1), {"heads": heads})
    (table,) = run_tables(tmp_path)
    assert table.heading[5:] == ("accuracy of helpful", "accuracy of safety")
    assert table.rows[0][5:] == ("83.9 % (83.3 to 84.6)", "70.0 %")


def test_a_run_directory_itself_is_a_table_of_one(folder):
    (table,) = run_tables(folder / "a")
    assert [row[0] for row in table.rows] == ["a"]


def test_text_and_page_have_the_same_cells(folder, tmp_path):
    tables = run_tables(folder)
    text, page = runs_text(tables), runs_page(folder, tables, tmp_path / "page.html")
    for words in ("Reward models", "Language models", "Policies", "83.9 % (83.3 to 84.6)", "train.epochs"):
        assert words in text
        assert words in page
    assert 'href="b/c"' in page
    assert "<b>" in text
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_a_folder_without_runs_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="has no runs: give the folder of the run directories"):
            run_tables(path)
