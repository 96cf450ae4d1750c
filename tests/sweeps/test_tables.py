"""Tables of many runs against hand arithmetic: means, differences by seed, marks, missing runs, measures, CSV."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.evaluation.outcomes import PromptSums
from rmjax.sweeps.rows import Measure, Row, read_measures, settings, to_csv
from rmjax.sweeps.statistics import p_value
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


def test_a_table_marks_differences_that_remain_significant():
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


def test_the_caption_explains_intervals_and_marks():
    text = caption(3, 24)
    assert "An interval covers seeds only" in text
    assert "the sampling of the test set, which all runs share, is not in it" in text
    assert "significant at 5 % after Holm's correction for the number of differences in this table, 24" in text
    assert "about 1.2 of their intervals would exclude zero by chance" in text
    assert "Holm" not in caption(1, 0)


def test_a_difference_is_taken_seed_by_seed():
    found = difference(ROWS, {"margin": "small"}, {"margin": "none"}, "accuracy")
    assert found.mean == pytest.approx((0.01 + 0.02 + 0.03) / 3)
    assert found.error == pytest.approx(0.01 / 3**0.5)
    lonely = [r for r in ROWS if (r.at["margin"], r.seed) != ("none", 2)]
    assert difference(lonely, {"margin": "small"}, {"margin": "none"}, "accuracy").n == 2


def test_with_outcomes_of_the_same_pairs_the_interval_is_over_seeds_and_prompts():
    """Three seeds that agree: the interval is that of 40 prompts. Seeds alone would give no width."""
    better = np.repeat([1.0, 0.0], [10, 30])

    def stored(r, pairs="same"):
        sums = better if r.at["margin"] == "small" else np.zeros(40)
        return dataclasses.replace(r, sums={"accuracy": PromptSums(sums, np.ones(40, int), pairs)})

    rows = [stored(r) for r in ROWS]
    found = difference(rows, {"margin": "small"}, {"margin": "none"}, "accuracy")
    error = better.std(ddof=1) / 40**0.5
    assert (found.mean, found.error, found.n, found.prompts) == pytest.approx((0.25, error, 3, 40))
    assert p_value(found) == found.p < 0.05
    table = difference_table(rows, [ACCURACY, LOSS], "margin", ())
    assert table[1][2:] == ["+25.0 (+11.0 to +39.0)*", "+0.000 (in all 3 seeds)"]
    other_set = [stored(r, "other" if r.seed == 2 else "same") for r in ROWS]
    without = [dataclasses.replace(r, sums={}) if r.seed == 1 else r for r in rows]
    for fewer in (other_set, without):
        assert difference(fewer, {"margin": "small"}, {"margin": "none"}, "accuracy") == difference(
            ROWS, {"margin": "small"}, {"margin": "none"}, "accuracy"
        )


def test_the_caption_says_which_intervals_are_over_prompts():
    assert "covers seeds only" not in caption(3, 4, crossed=["accuracy", "loss"])
    text = caption(3, 4, crossed=["accuracy"], others=["temperature"])
    assert "Intervals of accuracy are over seeds and test prompts" in text
    assert "An interval of temperature covers seeds only" in text


def test_the_table():
    assert table(ROWS, [ACCURACY, LOSS]) == [
        ["margin", "accuracy, %", "loss", "runs"],
        ["none", "62.0 ± 1.2", "0.500 ± 0.000", "3 of 3"],
        ["small", "64.0 ± 1.5", "0.500 ± 0.000", "3 of 3"],
    ]
    assert difference_table(ROWS, [ACCURACY, LOSS], "margin", ()) == [
        ["margin", "against", "accuracy, %", "loss"],
        ["small", "none", "+2.0 (-0.5 to +4.5)", "+0.000 (in all 3 seeds)"],
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
        [size, "random", "sft", "-10.0 (in all 2 seeds)"] for size in ("1,000", "2,000")
    ]


def test_a_page_can_name_the_comparisons():
    places = [{"shown": s, "size": n} for s, n in (("once", 1), ("once", 2), ("once", 4), ("again", 1), ("again", 2))]
    found = [(at["shown"], at["size"], other["size"]) for at, other in compared(places, "size", ((2, 1), (4, 2)))]
    assert found == [("once", 2, 1), ("once", 4, 2), ("again", 2, 1)]


def test_failed_runs_and_missing_values_are_shown():
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


def test_a_mean_of_fewer_values_than_runs_shows_their_number():
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


def test_settings_keep_their_order():
    assert settings(ROWS) == [{"margin": "none"}, {"margin": "small"}]
