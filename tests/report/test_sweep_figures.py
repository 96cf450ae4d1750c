"""Figures of a sweep: axes, labels, and missing runs."""

import dataclasses

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.report import sweep_figures
from rmjax.report.sweep_figures import curves, points
from rmjax.sweeps.rows import Measure, Row

ACCURACY, LOSS = Measure("accuracy", "accuracy", "%"), Measure("loss", "loss", "")


def row(at, seed, accuracy, loss=0.5, **changes):
    values = {"accuracy": accuracy, "loss": loss}
    return dataclasses.replace(Row(at, seed, "finished", values, "", "f"), **changes)


ROWS = [
    row({"margin": "none"}, 0, 0.60),
    row({"margin": "none"}, 1, 0.64),
    row({"margin": "none"}, 2, 0.62),
    row({"margin": "small"}, 0, 0.61),
    row({"margin": "small"}, 1, 0.66),
    row({"margin": "small"}, 2, 0.65),
]


def test_settings_of_a_figure_are_named_by_their_values(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(sweep_figures, "save", lambda figure, path: drawn.append(figure))
    points(tmp_path / "p.png", [row({"size": 1000, "start": s}, 0, 0.6) for s in "ab"], [ACCURACY], "Starts")
    axes = drawn[0].axes[0]
    assert axes.get_ylabel() == "size, start"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1,000, a", "1,000, b"]


def test_figures_are_written_also_where_runs_are_missing(tmp_path):
    rows = [*ROWS, row({"margin": "bad"}, 0, None, status="failed")]
    points(tmp_path / "points.png", rows, [ACCURACY, LOSS], "Margin")
    sizes = [row({"comparisons": d, "start": s}, seed, 0.6) for d in (10, 100) for s in "ab" for seed in (0, 1)]
    curves(tmp_path / "curves.png", sizes, ACCURACY, "comparisons", "Data")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("points.png", "curves.png"))
    with pytest.raises(InputError, match="needs positive numbers"):
        curves(tmp_path / "no.png", ROWS, ACCURACY, "margin", "Margin")


def test_a_measure_on_the_axis_replaces_a_setting(tmp_path, monkeypatch):
    """Parameters replace width: a line for each amount of data, with a point for each width."""
    drawn = []
    monkeypatch.setattr(sweep_figures, "save", lambda figure, path: drawn.append(figure))
    rows = [
        Row({"comparisons": d, "width": w}, s, "finished", {"accuracy": 0.6, "parameters": w * w}, "", "f")
        for d in (1000, 2000, 4000)
        for w in (8, 16)
        for s in (0, 1)
    ]
    curves(tmp_path / "c.png", rows, ACCURACY, "parameters", "Size", replaces="width")
    axes = drawn[0].axes[0]
    lines = axes.get_lines()
    assert [line.get_label() for line in lines] == ["1,000", "2,000", "4,000"]
    assert axes.get_legend().get_title().get_text() == "comparisons"
    assert all(np.allclose(line.get_xdata(), [64, 256], rtol=0.02) for line in lines)
    assert list(lines[1].get_xdata()) == [64, 256]  # the middle one
    assert len({line.get_xdata()[0] for line in lines}) == 3  # no bar hides another
