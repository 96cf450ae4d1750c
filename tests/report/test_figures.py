"""Tests of the figures: contents, sizes, no global state, and the few values of a short run."""

import math
import sys

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.evaluation.calibration import calibration
from rmjax.evaluation.temperature import Temperature
from rmjax.report import figures

PROMPT = (Message("user", "hello"),)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, as objects."""
    saved = []
    save = figures.save
    monkeypatch.setattr(figures, "save", lambda figure, path: (saved.append(figure), save(figure, path))[1])
    return saved


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_reward_histogram_counts_every_pair_on_its_side(tmp_path, drawn):
    comparisons = [
        Comparison(PROMPT, ("a", "b"), (1, 2)),
        Comparison(PROMPT, ("a", "b", "c"), (2, 1, 2)),
        Comparison(PROMPT, ("a", "b"), (1, 1)),
    ]
    scores = [np.array([1.0, 0.0]), np.array([2.0, 1.5, -3.0]), np.array([90.0, -90.0])]
    figures.reward_histogram(tmp_path / "new" / "h.png", comparisons, scores, "helpful")
    assert png_size(tmp_path / "new" / "h.png") == (1350, 585)
    left, right = drawn[0].axes
    assert drawn[0].get_suptitle() == "helpful"
    assert left.get_xlabel() == "reward"
    assert "preferred (mean 1.25)" in lines(left)  # 1.0 and 1.5
    assert "other (mean -0.33)" in lines(left)  # 0.0, 2.0 and -3.0
    # Gaps 1, -0.5 and 4.5; the tied comparison is left out.
    wrong = [bar.get_height() for bar in right.patches if bar.get_x() + bar.get_width() / 2 < 0]
    assert sum(wrong) == pytest.approx(100 / 3)
    assert sum(bar.get_height() for bar in right.patches) == pytest.approx(100)
    assert "wrong order (33.3 %)" in lines(right)


@pytest.mark.parametrize("scores", [[1.0, 1.0], [1e-3, 1e6]])
def test_reward_histogram_of_one_pair(tmp_path, scores):
    figures.reward_histogram(tmp_path / "h.png", [Comparison(PROMPT, ("a", "b"), (1, 2))], [np.array(scores)], "t")
    assert png_size(tmp_path / "h.png")


def test_reward_histogram_without_an_untied_pair(tmp_path, drawn):
    figures.reward_histogram(tmp_path / "h.png", [Comparison(PROMPT, ("a", "b"), (1, 1))], [np.zeros(2)], "t")
    assert drawn[0].axes[0].texts[0].get_text() == "no untied pair"


def test_zero_is_an_edge_of_the_gap_histogram():
    for scale in (1e-6, 1.0, 1e6):
        values = scale * np.random.default_rng(0).normal(0.3, 1.0, 500)
        edges = figures._edges(values)
        assert np.abs(edges).min() == 0.0
        assert edges[0] <= values.min()
        assert edges[-1] > values.max()
        assert len(edges) < 60


def test_training_curve_draws_what_the_rows_have(tmp_path, drawn):
    rows = [{"step": step, "loss": 0.7, "accuracy": 0.5, "learning_rate": 1e-5} for step in range(1, 21)]
    rows[3] |= {"loss": None}
    rows[4] |= {"loss": math.nan}
    rows[9] |= {"validation_accuracy": 0.6, "validation_loss": 0.65}
    rows.append({"step": 20, "loss": 0.1})  # a step that was repeated
    figures.training_curve(tmp_path / "t.png", rows)
    assert png_size(tmp_path / "t.png") == (1125, 1050)
    loss, accuracy, rate = drawn[0].axes
    raw, smoothed, validation, chance = loss.get_lines()
    assert len(raw.get_xdata()) == len(smoothed.get_xdata()) == 18
    assert raw.get_ydata()[-1] == pytest.approx(0.1)
    assert 0.1 < smoothed.get_ydata()[-1] < 0.7
    assert list(zip(*validation.get_data(), strict=True)) == [(10, 0.65)]
    assert chance.get_ydata()[0] == pytest.approx(math.log(2))
    assert accuracy.get_lines()[2].get_ydata()[0] == pytest.approx(60.0)
    assert [axes.get_ylabel() for axes in (loss, accuracy, rate)] == [
        "loss (nats per pair)",
        "accuracy (%)",
        "learning rate",
    ]
    assert rate.get_xlabel() == "step (optimizer updates)"
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation", "chance"]


def test_training_curve_leaves_out_panels_without_values(tmp_path, drawn):
    unit = {"loss_unit": "nats per token", "chance": {}}
    figures.training_curve(tmp_path / "t.png", [{"step": 1, "loss": 3.0}], title="SFT", **unit)
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == "loss (nats per token)"
    assert len(axes.get_lines()) == 2  # raw and smoothed: chance is known for pairs only
    assert axes.get_lines()[1].get_marker() == "o"


@pytest.mark.parametrize("rows", [[], [{"step": 1}], [{"step": 1, "learning_rate": 1e-3}]])
def test_training_curve_of_almost_no_values(tmp_path, rows):
    figures.training_curve(tmp_path / "t.png", rows)
    assert png_size(tmp_path / "t.png")


def test_smoothing_keeps_a_level_and_does_not_lag():
    np.testing.assert_allclose(figures.smooth(np.full(50, 3.0)), 3.0)
    np.testing.assert_allclose(figures.smooth(np.arange(100.0))[15:85], np.arange(15.0, 85.0))
    noise = np.random.default_rng(0).normal(size=1000)
    assert figures.smooth(noise).std() < 0.2 * noise.std()
    np.testing.assert_array_equal(figures.smooth(np.array([2.0])), [2.0])


def test_no_pyplot(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    figures.training_curve(tmp_path / "t.png", [{"step": 1, "loss": 3.0}])
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_reliability_diagram_shows_every_bin_with_its_count(tmp_path, drawn):
    gap_P = np.concatenate([np.full(30, np.log(3.0)), np.full(10, -np.log(3.0)), np.full(5, 9.0)])
    temperature = Temperature(value=2.0, pairs=7, bound=None)
    figures.reliability_diagram(tmp_path / "new" / "r.png", calibration(gap_P, temperature), "helpful on gold")
    assert png_size(tmp_path / "new" / "r.png") == (1020, 960)
    upper, lower = drawn[0].axes
    # At T = 2: 40 pairs, 75 % right, called with √3 / (1 + √3) = 63.4 %, and 5 right ones with 98.9 %.
    assert lines(upper).keys() == {"perfect", "no temperature (error 0.0 %)", "at temperature 2 (error 10.4 %)"}
    np.testing.assert_allclose(lines(upper)["perfect"].get_data(), [[50, 100], [50, 100]])
    raw = lines(upper)["no temperature (error 0.0 %)"]
    np.testing.assert_allclose(raw.get_xdata(), [75, 100 / (1 + np.exp(-9))])
    np.testing.assert_allclose(raw.get_ydata(), [75, 100])
    assert [text.get_text() for text in lower.texts] == ["40", "5", "40", "5"]
    assert [bar.get_height() for bar in lower.patches] == [40, 5, 40, 5]


def test_reliability_diagram_without_a_temperature_and_of_one_pair(tmp_path, drawn):
    figures.reliability_diagram(tmp_path / "r.png", calibration(np.array([1.0]), None), "t")
    upper, lower = drawn[0].axes
    assert len(upper.get_lines()) == 2
    (bar,) = lower.patches
    assert 70 <= bar.get_x() <= bar.get_x() + bar.get_width() <= 75  # confidence 73 %


def test_a_training_curve_draws_chance_where_it_is_known(tmp_path, drawn):
    """As for squared error: guessing has an accuracy, and no loss that is known."""
    rows = [{"step": step, "loss": 3.0, "accuracy": 0.7} for step in (1, 2)]
    figures.training_curve(tmp_path / "t.png", rows, loss_unit="", chance={"accuracy": 0.5})
    loss, accuracy = drawn[0].axes
    assert loss.get_ylabel() == "loss"
    assert len(accuracy.get_lines()) == len(loss.get_lines()) + 1
    assert list(accuracy.get_lines()[-1].get_ydata()) == [50.0, 50.0]
