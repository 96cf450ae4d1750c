"""Tests of the curves and summaries of runs that are over-optimised, from files written by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.evaluation.best_of_n import best_of_n
from rmjax.report import overoptimisation_figures
from rmjax.sweeps.overoptimisation import FILE, correlation_in_words, read_curves, summarize
from rmjax.sweeps.rows import Measure, Row


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def policy_run(folder, *, prompts=8, gold=lambda d, p: d * (2 - d) + 0.1 * p, judge="judge"):
    """A run of ppo.py with five evaluations; its proxy is 2 d, with a difference between prompts."""
    folder.mkdir(parents=True)
    distances = (0.0, 0.5, 1.0, 1.5, 2.0)
    (folder / "config.json").write_text(json.dumps({"rollout": {}, "reward": judge}))
    (folder / "evaluation.json").write_text("{}")
    write_lines(
        folder / "metrics.jsonl",
        [{"step": e, "validation/kl": d**2, "validation/length": 10 - d} for e, d in enumerate(distances)],
    )
    write_lines(
        folder / "samples.jsonl",
        [
            {
                "step": e,
                "prompt": [],
                "response": "",
                "scores": {"score": 2 * d + p, "gold_helpful": gold(d, p)},
            }
            for e, d in enumerate(distances)
            for p in range(prompts)
        ],
    )
    return folder


def best_of_n_result(folder, proxy, gold, *, judge="judge"):
    folder.mkdir(parents=True)
    rows = [{"n": n, "kl": np.log(n) - (n - 1) / n} for n in (1, 2, 4, 8)]
    (folder / "evaluation.json").write_text(json.dumps({"curve": rows, "checkpoint": judge}))
    np.savez(folder / "evaluation.scores.npz", score=proxy, gold_helpful=gold)
    return folder


def test_a_policy_is_summarised_from_its_samples(tmp_path):
    """The gold reward d (2 - d) peaks at d = 1 and falls by 1; gains are in units of the start's spread."""
    summarize(policy_run(tmp_path / "run"))
    found = json.loads((tmp_path / "run" / FILE).read_text())
    assert found["form"] == "RL"
    assert found["d"] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert found["peak"]["d"] == 1.0
    assert found["peak"]["decline"] == pytest.approx(-1.0)
    assert found["overoptimised"] == 1
    assert found["gold_end"] == pytest.approx(0.35)
    spread = np.std(np.arange(8))
    assert found["proxy"] == pytest.approx([2 * d / spread for d in found["d"]])
    assert found["gold"] == pytest.approx([d * (2 - d) / (0.1 * spread) for d in found["d"]])
    assert found["judge_accuracy"] is None
    assert found["tail_index"] is None


def test_a_proxy_that_is_the_gold_reward_is_not_overoptimised(tmp_path):
    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "evaluation.json").write_text('{"accuracy": 0.75}')
    summarize(policy_run(tmp_path / "run", gold=lambda d, p: 2 * d + p, judge=str(judge)))
    found = json.loads((tmp_path / "run" / FILE).read_text())
    assert found["overoptimised"] == 0
    assert found["gamma"] == pytest.approx(0.0, abs=1e-9)
    assert found["judge_accuracy"] == 0.75


def test_best_of_n_is_summarised_from_its_scores(tmp_path):
    """The curve is that of `best_of_n`, prompt by prompt."""
    rng = np.random.default_rng(0)
    proxy = rng.normal(size=(6, 16))
    gold = proxy + rng.normal(size=(6, 16))
    curves = read_curves(best_of_n_result(tmp_path / "run", proxy, gold))
    assert curves.form == "best-of-n"
    for e, n in enumerate((1, 2, 4, 8)):
        np.testing.assert_allclose(curves.gold_ExP[e], best_of_n(proxy, gold, n))
        np.testing.assert_allclose(curves.proxy_ExP[e], best_of_n(proxy, proxy, n))
    assert curves.start_proxy_sd == pytest.approx(proxy.std(1).mean())
    summarize(tmp_path / "run")
    assert json.loads((tmp_path / "run" / FILE).read_text())["gold"][0] == 0


def test_runs_that_cannot_be_summarised_are_named(tmp_path):
    folder = policy_run(tmp_path / "few")
    lines = (folder / "samples.jsonl").read_text().splitlines()
    (folder / "samples.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match="does not have the same prompts at every evaluation"):
        summarize(folder)
    other = tmp_path / "reward"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds neither a policy nor a result of best_of_n\.py"):
        summarize(other)
    best_of_n_result(tmp_path / "unknown", np.ones((4, 8)), np.ones((4, 8)))
    np.savez(tmp_path / "unknown" / "evaluation.scores.npz", score=np.ones((4, 8)))
    with pytest.raises(InputError, match=r"has no gold reward: use prompts of gold/helpful"):
        summarize(tmp_path / "unknown")


def results_of(tmp_path, settings):
    """Results with the fields of `SweepResults` that the figures and the text read."""
    rows = [
        Row(at, seed, "finished", {"accuracy": 0.7, "gamma": 0.2}, "", f"{at['judge']}-seed{seed}")
        for at in settings
        for seed in range(2)
    ]
    return SimpleNamespace(path=tmp_path, rows=rows, finished=rows, sweep=SimpleNamespace(title="Over-optimisation"))


def test_the_rank_correlation_of_accuracy_and_gamma(tmp_path):
    """γ falls with accuracy in all judges: -1. Four judges are too few for a sentence."""
    settings = [{"judge": f"j{i}"} for i in range(3)]
    results = results_of(tmp_path, settings)
    for i, row in enumerate(results.rows):
        (tmp_path / row.folder).mkdir()
        summary = {"form": "best-of-n", "gamma": 1 - 0.1 * i, "judge_accuracy": 0.6 + 0.01 * i}
        (tmp_path / row.folder / FILE).write_text(json.dumps(summary))
    assert "6 judges: -1.00 (-1.00 to -1.00, over judges)" in correlation_in_words(results)
    results.finished = results.rows[:4]
    assert correlation_in_words(results) == ""


def test_the_mean_curve_ends_where_the_first_run_ends():
    """Two runs, at gains d and 3 d, of which one has reached 1 and came back: the mean is 2 d up to 1."""
    runs = [{"d": [0.0, 1.0, 0.5], "gold": [0.0, 1.0, 0.5]}, {"d": [0.0, 2.0], "gold": [0.0, 6.0]}]
    d, mean = overoptimisation_figures.mean_curve(runs, "gold")
    assert d[-1] == 1.0
    np.testing.assert_allclose(mean, 2 * d)


def test_figures_are_drawn_with_and_without_runs(tmp_path):
    results = results_of(tmp_path, [{"judge": "a"}, {"judge": "b"}])
    measures = Measure("accuracy", "", "%"), Measure("gamma", "", "")
    for row in results.rows[:2]:
        policy_run(tmp_path / row.folder)
        summarize(tmp_path / row.folder)
    overoptimisation_figures.curves_over_kl(tmp_path / "curves.png", results)
    overoptimisation_figures.scatter(tmp_path / "scatter.png", results, *measures)
    results.finished = []
    results.rows = [Row(row.at, row.seed, "missing", dict.fromkeys(row.values), "", row.folder) for row in results.rows]
    overoptimisation_figures.curves_over_kl(tmp_path / "empty.png", results)
    overoptimisation_figures.scatter(tmp_path / "none.png", results, *measures)
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("curves", "scatter", "empty", "none"))
