"""Tests of reading a sweep directory: rows with their types, figures, fit and caption."""

import dataclasses
import json

import pytest

from rmjax.errors import InputError
from rmjax.report.sweep_figures import draw
from rmjax.sweeps.results import fit_in_words, read_sweep
from rmjax.sweeps.rows import Measure, Row, to_csv

ACCURACY, LOSS = Measure("accuracy", "accuracy", "%"), Measure("loss", "loss", "")
ROWS = [
    Row(
        {"size": size, "start": start},
        seed,
        "finished",
        {"accuracy": 0.5 + size / 1e4 + seed / 100, "loss": None},
        "",
        "f",
    )
    for size in (1000, 2000)
    for start in ("SFT", 'none, "random"')
    for seed in (0, 1)
]
FAILED = dataclasses.replace(
    ROWS[-1], status="failed", values={"accuracy": None, "loss": None}, error="one line,\nand another"
)


def write(folder, rows, **changes):
    coordinates = [dict(at) for at in {tuple(row.at.items()): None for row in rows}]
    page = {
        "title": "Sizes",
        "seeds": 2,
        "base": "configs/helpful.py",
        "start_base": "configs/sft.py",
        "starts": [],
        "fields": [],
        "compare": "size",
        "against": [],
        "settings": [{"at": at, "fields": []} for at in coordinates],
        "measures": [list(ACCURACY), list(LOSS)],
        "figures": [["curve", "curves", "accuracy", "size"], ["dots", "points", "accuracy"]],
        "fit": ["accuracy", "size"],
        **changes,
    }
    (folder / "sweep.json").write_text(json.dumps(page))
    (folder / "results.csv").write_text(to_csv(rows, [ACCURACY, LOSS]))


def test_rows_are_read_as_they_were_written(tmp_path):
    rows = [*ROWS[:-1], FAILED]
    write(tmp_path, rows)
    found = read_sweep(tmp_path)
    assert found.rows == rows
    assert found.measures == (ACCURACY, LOSS)
    assert found.finished == rows[:-1]


def test_figures_and_fit_are_those_of_the_configuration(tmp_path):
    write(tmp_path, ROWS)
    found = read_sweep(tmp_path)
    assert [path.name for path in draw(found, tmp_path / "figures")] == ["curve.png", "dots.png"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["curve.png", "dots.png"]
    # From 1,000 to 2,000 the accuracy rises by 0.1, which is 0.1 / ln 2 = 0.1443 for a factor of e.
    assert fit_in_words(found).startswith("Fit: accuracy = ")
    assert " + 0.1443 (" in fit_in_words(found)
    assert fit_in_words(found).endswith("settings.")


def test_the_caption_counts_the_differences_that_have_an_interval(tmp_path):
    """Two sizes are compared from two starts. The loss was not measured, and one run failed."""
    write(tmp_path, [*ROWS[:-1], FAILED], seeds=2, compare="size", against=[])
    assert "differences in this table, 1." in read_sweep(tmp_path).caption
    write(tmp_path, ROWS, seeds=2, compare="size", against=[])
    assert "differences in this table, 2." in read_sweep(tmp_path).caption


def test_without_finished_runs_or_a_fit_there_are_no_figures_and_no_text(tmp_path):
    write(tmp_path, [FAILED], fit=[])
    found = read_sweep(tmp_path)
    assert draw(found, tmp_path / "figures") == []
    assert fit_in_words(found) == ""
    write(tmp_path, [FAILED])
    assert fit_in_words(read_sweep(tmp_path)).startswith("No fit: ")


def test_missing_and_inconsistent_files_are_errors(tmp_path):
    with pytest.raises(InputError, match=r"sweep\.json is missing"):
        read_sweep(tmp_path)
    write(tmp_path, ROWS)
    (tmp_path / "results.csv").unlink()
    with pytest.raises(InputError, match=r"results\.csv is missing"):
        read_sweep(tmp_path)
    write(tmp_path, ROWS)
    write_other = to_csv([dataclasses.replace(ROWS[0], at={"size": 3000, "start": "SFT"})], [ACCURACY, LOSS])
    (tmp_path / "results.csv").write_text(write_other)
    with pytest.raises(InputError, match=r"line 2, does not fit sweep\.json"):
        read_sweep(tmp_path)
    (tmp_path / "results.csv").write_text(to_csv(ROWS, [ACCURACY]))
    with pytest.raises(InputError, match=r"line 2, does not fit sweep\.json"):
        read_sweep(tmp_path)
