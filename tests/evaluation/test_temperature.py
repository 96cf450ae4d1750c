"""Temperature fits against the likelihood and labels drawn at known temperatures; bounds and intervals of a fit."""

import numpy as np
import pytest

from rmjax.data.comparisons import Comparison, Message
from rmjax.errors import InputError
from rmjax.evaluation import metrics
from rmjax.evaluation.evaluate import evaluate_heads
from rmjax.evaluation.summary import summary
from rmjax.evaluation.temperature import REACH, fit_temperature, fit_temperatures


def drawn(count, temperature=1.0, seed=5):
    """Gaps of a model at a temperature, with labels drawn from sigmoid(gap / temperature)."""
    generator = np.random.default_rng(seed)
    difference = generator.normal(size=count) * 2
    won = generator.random(count) < 1 / (1 + np.exp(-difference))
    return temperature * np.where(won, difference, -difference)


@pytest.mark.parametrize("truth", [0.02, 1.0, 30.0])
def test_the_fit_finds_the_temperature_that_the_labels_were_drawn_at(truth):
    fitted = fit_temperature(drawn(20_000, truth))
    assert fitted.value == pytest.approx(truth, rel=0.03)
    assert (fitted.pairs, fitted.bound) == (20_000, None)


def test_the_fit_is_the_optimum_of_the_likelihood():
    gap_P = np.append(drawn(50, 3.0), 0.0)

    def loss(log_t):
        return metrics.bradley_terry_loss(gap_P / np.exp(log_t))

    log_t = np.log(fit_temperature(gap_P).value)
    assert loss(log_t) < min(loss(log_t - 1e-5), loss(log_t + 1e-5))
    assert loss(log_t) < min(map(loss, np.linspace(-5, 5, 101)))


def test_the_interval_is_from_the_curvature_of_the_likelihood():
    """The oracle is the second difference of the loss by log T."""
    gap_P = drawn(80, 3.0)
    fitted = fit_temperature(gap_P)

    def loss(log_t):
        return 80 * metrics.bradley_terry_loss(gap_P / np.exp(log_t))

    at, step = np.log(fitted.value), 1e-3
    error = ((loss(at + step) - 2 * loss(at) + loss(at - step)) / step**2) ** -0.5
    assert np.log(fitted.interval) == pytest.approx([at - 1.96 * error, at + 1.96 * error], rel=1e-4)
    assert fit_temperature(7 * gap_P).interval == pytest.approx([7 * end for end in fitted.interval])


def test_the_interval_covers_the_temperature_that_the_labels_were_drawn_at():
    intervals = [fit_temperature(drawn(200, 1.5, seed)).interval for seed in range(400)]
    assert np.mean([low <= 1.5 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.033)


def test_too_few_pairs_are_reported():
    assert fit_temperature(drawn(60)).too_few
    assert not fit_temperature(drawn(2000)).too_few
    bounded = fit_temperature(np.array([1.0, 2.0, 3.0]))
    assert (bounded.interval, bounded.too_few) == (None, False)  # the bound is reported instead
    comparisons = judged("helpful", 60, 0)
    gaps = drawn(60)
    scores = [
        np.array([[gap], [0.0]]) * (1 if c.ranks == (1, 2) else -1) for c, gap in zip(comparisons, gaps, strict=True)
    ]
    temperatures = fit_temperatures(comparisons, scores, ("helpful",))
    result = evaluate_heads(comparisons, scores, ("helpful",), bootstrap=10, seed=0, temperatures=temperatures)
    tempered = result["calibration"]["helpful"]["tempered"]
    low, high = tempered["temperature_ci95"]
    assert tempered["too_few_pairs"] is True
    assert f"fitted on 60 pairs: too few pairs to fit a temperature, 95 % interval {low:.3g} to {high:.3g})" in summary(
        result
    )
    del tempered["too_few_pairs"]  # a result of an earlier version
    assert "too few pairs" not in summary(result)


def test_the_fit_follows_the_unit_of_the_scores():
    gap_P = drawn(40)
    for unit in (1e-9, 7.0, 1e9):
        assert fit_temperature(unit * gap_P).value == pytest.approx(unit * fit_temperature(gap_P).value)


def test_the_fit_stops_at_a_bound_if_there_is_no_optimum():
    separable = fit_temperature(np.array([1.0, 2.0, 3.0]))
    assert (separable.value, separable.bound) == (pytest.approx(2.0 / REACH), "lower")
    single = fit_temperature(np.array([0.5]))
    assert (single.value, single.bound) == (pytest.approx(0.5 / REACH), "lower")
    backwards = fit_temperature(-np.array([1.0, 2.0, 3.0]))
    assert (backwards.value, backwards.bound) == (pytest.approx(2.0 * REACH), "upper")
    chance = fit_temperature(np.array([1.0, -1.0]))
    assert chance.bound == "upper"
    assert fit_temperature(np.zeros(3)) is None
    assert fit_temperature(np.array([])) is None


def judged(head, count, seed):
    generator = np.random.default_rng(seed)
    return [
        Comparison(
            (Message("user", f"{head}{n}"),), ("a", "b"), (1, 2) if generator.random() < 0.8 else (2, 1), head=head
        )
        for n in range(count)
    ]


def test_each_head_is_fitted_on_its_own_comparisons():
    comparisons = judged("helpful", 40, 0) + judged("safety", 50, 1)
    scores = [np.array([[2.0, 5.0, 0.0], [0.0, 1.0, 0.0]])] * 90
    heads = ("helpful", "safety", "style")
    temperatures = fit_temperatures(comparisons, scores, heads)
    assert list(temperatures) == ["helpful", "safety"]
    for head, gap, start, count in (("helpful", 2.0, 0, 40), ("safety", 4.0, 40, 50)):
        share = np.mean([comparison.ranks == (1, 2) for comparison in comparisons[start : start + count]])
        # With one gap throughout, the likeliest probability is the share of pairs in the right order.
        assert temperatures[head].value == pytest.approx(gap / np.log(share / (1 - share)))
        assert temperatures[head].pairs == count

    result = evaluate_heads(comparisons, scores, heads, bootstrap=10, seed=0, temperatures=temperatures)
    assert list(result["calibration"]) == ["helpful", "safety"]
    for head in ("helpful", "safety"):
        assert result["calibration"][head]["calibration_error"] == result["heads"][head]["calibration_error"]
        assert result["calibration"][head]["tempered"]["calibration_error"] == pytest.approx(0.0, abs=1e-9)
    assert "fitted on 50 pairs: too few" in summary(result)
    alone = evaluate_heads(comparisons, scores, heads, bootstrap=10, seed=0)
    assert alone["heads"] == result["heads"]
    assert "fitted temperature" not in summary(alone)


def test_the_summary_names_the_bound_of_a_fit():
    comparisons = judged("helpful", 20, 0)
    right = [np.array([[1.0], [0.0]]) * (1 if c.ranks == (1, 2) else -1) for c in comparisons]
    temperatures = fit_temperatures(comparisons, right, ("helpful",))
    result = evaluate_heads(comparisons, right, ("helpful",), bootstrap=10, seed=0, temperatures=temperatures)
    assert "stopped at its lower bound" in summary(result)


def test_comparisons_of_unknown_heads_are_refused():
    with pytest.raises(InputError, match="is for the head 'other'"):
        fit_temperatures(judged("other", 2, 0), [np.zeros((2, 2))] * 2, ("helpful", "safety"))


def test_a_temperature_is_fitted_to_the_log_odds_of_the_link():
    """Log odds that are three times as large need three times the temperature."""
    pairs = [(1.0, (1, 2)), (2.0, (1, 2)), (0.5, (2, 1)), (3.0, (1, 2)), (1.5, (2, 1))]
    comparisons = [Comparison((Message("user", str(i)),), ("a", "b"), ranks) for i, (_, ranks) in enumerate(pairs)]
    scores = [np.array([[gap], [0.0]]) for gap, _ in pairs]
    plain = fit_temperatures(comparisons, scores, ("reward",))["reward"]
    linked = fit_temperatures(comparisons, scores, ("reward",), lambda gap: 3 * gap)["reward"]
    assert plain.bound is None
    assert linked.value == pytest.approx(3 * plain.value)
