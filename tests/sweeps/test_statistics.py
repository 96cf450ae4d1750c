"""Tables of many runs: means and intervals by hand and by Student's own table, differences by seed, missing runs."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.report import sweep_figures
from rmjax.report.sweep_figures import curves, points
from rmjax.sweeps.rows import Measure, Row, read_measures, settings, to_csv
from rmjax.sweeps.scaling import fit_logarithms
from rmjax.sweeps.statistics import holm, mean_interval, p_value
from rmjax.sweeps.tables import caption, compared, difference, difference_table, table

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


def test_the_interval_is_students():
    # t(0.975; 2) = 4.303 in Student's table; the standard deviation of 1, 2, 3 is 1.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.error == pytest.approx(1 / 3**0.5)
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)


def test_one_run_has_no_error_and_none_no_mean():
    assert mean_interval([0.5]).mean == 0.5
    assert np.isnan(mean_interval([0.5]).error)
    assert np.isnan(mean_interval([]).mean)


def test_the_interval_covers_what_it_says():
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    inside = np.mean([(low <= 0 <= high) for _, _, low, high, _ in map(mean_interval, draws)])
    assert inside == pytest.approx(0.95, abs=0.011)  # three standard errors of a share of 4,000


@pytest.mark.parametrize("values", [[0.01, 0.05], [1.0, -1.0], [0.01, 0.02, 0.03], [-0.5, 0.1, -0.3, -0.2]])
def test_the_p_value_is_that_of_students_test(values):
    """The distribution of Student's t in closed form, for one, two and three degrees of freedom."""
    n = len(values)
    t = abs(np.mean(values)) / (np.std(values, ddof=1) / n**0.5)
    inside = {
        2: 2 / np.pi * np.arctan(t),
        3: t / np.sqrt(2 + t**2),
        4: 2 / np.pi * (np.arctan(t / 3**0.5) + (t / 3**0.5) / (1 + t**2 / 3)),
    }
    assert p_value(mean_interval(values)) == pytest.approx(1 - inside[n])


def test_the_p_value_of_equal_values_and_of_one_value():
    assert p_value(mean_interval([0.0, 0.0])) == 1.0
    assert p_value(mean_interval([0.5, 0.5])) == 0.0
    assert np.isnan(p_value(mean_interval([0.5])))


def test_holm_by_hand():
    # Sorted: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not come out below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, np.nan, 0.6]) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert holm([]) == []


def test_holm_rejects_what_its_sequential_procedure_rejects():
    """The smallest p against α / m, the next against α / (m - 1), up to the first that is too large."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        p = generator.uniform(size=6) ** 3 / 5
        rejected = np.zeros(6, bool)
        for step, place in enumerate(np.argsort(p)):
            if p[place] > 0.05 / (6 - step):
                break
            rejected[place] = True
        assert ((np.array(holm(p)) <= 0.05) == rejected).all()


def test_a_table_marks_what_remains_of_all_its_differences():
    """Two of four intervals exclude zero; p = 0.0002 remains after Holm, p = 0.045 does not."""
    strong, weak = (0.10, 0.101, 0.102), (0.010, 0.015, 0.007)
    rows = [
        row({"loss": loss}, seed, 0.6 + shift, loss=0.5 + other)
        for loss, *shifts in (("a", [0] * 3, [0] * 3), ("b", strong, weak), ("c", (0.1, -0.2, 0.2), (0.3, -0.1, 0.2)))
        for seed, (shift, other) in enumerate(zip(*shifts, strict=True))
    ]
    (_, *lines) = difference_table(rows, [ACCURACY, LOSS], "loss", ())
    assert lines == [
        ["b", "a", "+10.1 (+9.9 to +10.3)*", "+0.011 (+0.001 to +0.021)"],
        ["c", "a", "+3.3 (-48.4 to +55.0)", "+0.133 (-0.384 to +0.650)"],
    ]
    alone = difference_table(rows, [LOSS], "loss", ())
    assert alone[1][2].endswith("+0.021)")  # 2 * 0.045 of two tests
    assert difference_table(rows[:6], [LOSS], "loss", ())[1][2].endswith("+0.021)*")  # the only test


def test_the_caption_says_what_intervals_and_marks_mean():
    text = caption(3, 24)
    assert "An interval covers seeds only" in text
    assert "the sampling of its prompts is not in it" in text
    assert "significant at 5 % after Holm's correction for the number of differences in this table, 24" in text
    assert "about 1.2 of their intervals would exclude zero by chance" in text
    assert "Holm" not in caption(1, 0)


def test_a_difference_is_taken_seed_by_seed():
    found = difference(ROWS, {"margin": "small"}, {"margin": "none"}, "accuracy")
    assert found.mean == pytest.approx((0.01 + 0.02 + 0.03) / 3)
    assert found.error == pytest.approx(0.01 / 3**0.5)
    lonely = [r for r in ROWS if (r.at["margin"], r.seed) != ("none", 2)]
    assert difference(lonely, {"margin": "small"}, {"margin": "none"}, "accuracy").count == 2


def test_the_table():
    assert table(ROWS, [ACCURACY, LOSS]) == [
        ["margin", "accuracy, %", "loss", "runs"],
        ["none", "62.0 ± 1.2", "0.500 ± 0.000", "3 of 3"],
        ["small", "64.0 ± 1.5", "0.500 ± 0.000", "3 of 3"],
    ]
    assert difference_table(ROWS, [ACCURACY, LOSS], "margin", ()) == [
        ["margin", "against", "accuracy, %", "loss"],
        ["small", "none", "+2.0 (-0.5 to +4.5)", "+0.000 (+0.000 to +0.000)"],
    ]


def test_a_count_describes_a_setting_and_is_not_compared():
    size = Measure("parameters", "accuracy", "count")
    rows = [row({"width": width}, seed, width * 1000) for width in (24, 96) for seed in (0, 1)]
    rows = [dataclasses.replace(r, values={"parameters": r.values["accuracy"]}) for r in rows]
    assert table(rows, [size])[1:] == [["24", "24,000", "2 of 2"], ["96", "96,000", "2 of 2"]]
    assert difference_table(rows, [size], "width", ()) == [["width", "against"], ["96", "24"]]


def test_every_setting_is_compared_along_one_axis():
    values = {"sft": 0.7, "random": 0.6}
    rows = [
        row({"data": size, "start": start}, seed, value + size / 10000)
        for size in (1000, 2000)
        for start, value in values.items()
        for seed in (0, 1)
    ]
    assert difference_table(rows, [ACCURACY], "start", ())[1:] == [
        [size, "random", "sft", "-10.0 (-10.0 to -10.0)*"] for size in ("1,000", "2,000")
    ]


def test_a_page_says_what_is_compared_with_what():
    places = [{"shown": s, "size": n} for s, n in (("once", 1), ("once", 2), ("once", 4), ("again", 1), ("again", 2))]
    found = [(at["shown"], at["size"], other["size"]) for at, other in compared(places, "size", ((2, 1), (4, 2)))]
    assert found == [("once", 2, 1), ("once", 4, 2), ("again", 2, 1)]


def test_what_failed_or_was_not_measured_is_said():
    rows = [
        *ROWS[:3],
        row({"margin": "bad"}, 0, None, status="failed", error="unknown margin, 'bad'"),
        row({"margin": "bad"}, 1, 0.5, loss=None),
    ]
    assert table(rows, [ACCURACY, LOSS])[2] == ["bad", "50.0", "-", "1 of 2, 1 failed"]
    assert difference_table(rows, [ACCURACY, LOSS], "margin", ())[1] == ["bad", "none", "-14.0", "-"]
    read = list(csv.DictReader(io.StringIO(to_csv(rows, [ACCURACY, LOSS]))))
    assert [line["status"] for line in read] == ["finished"] * 3 + ["failed", "finished"]
    assert read[3]["error"] == "unknown margin, 'bad'"
    assert (read[3]["accuracy"], read[4]["loss"]) == ("", "")
    assert float(read[1]["accuracy"]) == 0.64


def test_a_mean_of_fewer_values_than_runs_says_so():
    rows = [*ROWS[:2], dataclasses.replace(ROWS[2], values={"accuracy": None, "loss": 0.5})]
    assert table(rows, [ACCURACY, LOSS])[1] == ["none", "62.0 ± 2.0 (of 2)", "0.500 ± 0.000", "3 of 3"]


def test_measures_are_read_from_any_file_of_a_run(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"strengths": {"better": {"accuracy": 0.7}}, "ceiling": None}))
    (tmp_path / "data_audit.json").write_text(json.dumps({"sets": {"train": {"responses": 12}}}))
    measures = [
        Measure("better", "strengths.better.accuracy", "%"),
        Measure("absent", "strengths.worse.accuracy", "%"),
        Measure("ceiling", "ceiling", "%"),
        Measure("responses", "data_audit.json:sets.train.responses", ""),
    ]
    assert read_measures(tmp_path, measures) == {"better": 0.7, "absent": None, "ceiling": None, "responses": 12}
    with pytest.raises(InputError, match="is dict, not a number"):
        read_measures(tmp_path, [Measure("all", "strengths", "%")])
    with pytest.raises(InputError, match=r"packing\.json is missing"):
        read_measures(tmp_path, [Measure("padding", "packing.json:padding", "%")])


def test_a_line_in_logarithms_is_found_again():
    generator = np.random.default_rng(0)
    parameters, comparisons = np.exp(generator.uniform(8, 14, 60)), np.exp(generator.uniform(6, 10, 60))
    accuracy = 0.5 + 0.007 * np.log(parameters) + 0.015 * np.log(comparisons) + generator.normal(scale=0.002, size=60)
    fitted = fit_logarithms(accuracy, {"parameters": parameters, "comparisons": comparisons})
    for name, truth in (("parameters", 0.007), ("comparisons", 0.015)):
        assert fitted[name].low < truth < fitted[name].high
        assert fitted[name].high - fitted[name].low < 0.002
    assert fitted["intercept"].low < 0.5 < fitted["intercept"].high
    assert fitted["residual"].value == pytest.approx(0.002, rel=0.25)


@pytest.mark.parametrize("quantity", [[10, 20], [10, 10, 10, 10]])
def test_too_few_runs_or_a_quantity_that_stands_still_fix_no_line(quantity):
    with pytest.raises(InputError, match="do not fix a line"):
        fit_logarithms([0.5, 0.6, 0.7, 0.8][: len(quantity)], {"comparisons": quantity})


def test_settings_of_a_figure_are_named_by_their_places(tmp_path, monkeypatch):
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


def test_a_measure_on_the_axis_takes_the_place_of_what_it_stands_for(tmp_path, monkeypatch):
    """Parameters for width: a line for each amount of data, with a point for each width."""
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


def test_settings_keep_their_order():
    assert settings(ROWS) == [{"margin": "none"}, {"margin": "small"}]
