"""Report of a policy: figures of few and equal values, responses side by side, escaping."""

import json

import pytest

from rmjax.report import rl_figures
from rmjax.report.report import report
from rmjax.report.rl_report import answers
from rmjax.report.rl_tables import result_rows
from rmjax.training.environment import environment

HOSTILE = "<script>alert('x')</script>"


def row(step, kl):
    return {"step": step, "validation/kl": kl, "validation/score": 1.0 + step, "validation/gold_helpful": 0.5}


ITERATION = {
    "step": 1,
    "objective/scores": 1.0,
    "objective/kl": 0.1,
    "reward/model/weighted": 1.0,
    "advantage/model": 1.0,
}


@pytest.mark.parametrize("draw", [rl_figures.training_curves, rl_figures.scores_over_kl, rl_figures.reward_terms])
@pytest.mark.parametrize("rows", [[], [row(0, 0.0), row(1, 0.0), row(2, -0.1)], [row(0, 0.0), ITERATION]])
def test_figures_of_few_and_of_equal_values(draw, rows, tmp_path):
    draw(tmp_path / "figure.png", rows, "title")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def records(steps, prompt="p"):
    turns = [{"role": "user", "content": prompt}]
    return [
        {"step": step, "prompt": turns, "response": f"{prompt} {step}", "stopped": True, "scores": {"score": step}}
        for step in steps
    ]


def test_responses_before_during_and_after():
    mixed = [
        record
        for pair in zip(records(range(0, 50, 10)), records(range(0, 50, 10), "q"), strict=True)
        for record in pair
    ]
    found = answers(mixed, None)
    assert [[record["step"] for record in each.responses] for each in found] == [[0, 20, 40]] * 2
    assert [record["response"] for record in found[1].responses] == ["q 0", "q 20", "q 40"]
    assert [[record["step"] for record in each.responses] for each in answers(records([0, 7]), None)] == [[0, 7]]


def test_responses_after_the_selected_step_are_left_out():
    """Their checkpoint was deleted."""
    (found,) = answers(records(range(0, 50, 10)), 20)
    assert [record["step"] for record in found.responses] == [0, 10, 20]


def test_an_unfinished_run_has_a_page_and_texts_are_escaped(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 0, "data": {"train": HOSTILE}}))
    (tmp_path / "environment.json").write_text(json.dumps({"kind": "policy", **environment()}))
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records([0], HOSTILE)))
    page = report(tmp_path, tmp_path / "report.html")
    assert "Not finished" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_a_row_for_every_score_of_both_ways():
    one = {
        "score": 1.0, "score_ci95": [0.5, 1.5], "score_gain": 0.25, "score_gain_ci95": [0.0, 0.5],
        "score_win_rate": 0.75, "score_win_rate_ci95": [0.5, 0.9], "length": 7.0, "cut": 0.125,
    }  # fmt: skip
    sampled = one | {"kl": 2.0, "kl_error": 0.1}
    rows = result_rows({"sampled": {"before": sampled, "after": sampled}, "greedy": {"before": one, "after": one}})
    assert rows[0] == (
        "score, sampled", "1.00 (0.50 to 1.50)", "1.00 (0.50 to 1.50)", "+0.25 (0.00 to 0.50)", "75.0 % (50.0 to 90.0)"
    )  # fmt: skip
    assert rows[1][2] == "2.00 ± 0.10"
    single = sampled | {"kl_error": None}  # a single response has no standard error
    assert result_rows({way: {"before": single, "after": single} for way in ("sampled", "greedy")})[1][2] == "2.00"
    assert [name for name, *_ in rows if name.startswith("KL")] == ["KL in nats per response, sampled"]
