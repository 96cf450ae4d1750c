"""Statistics over seeds against hand arithmetic and Student's tables; the scaling fit against known coefficients."""

import numpy as np
import pytest

from rmjax.errors import InputError
from rmjax.sweeps.scaling import fit_logarithms, fit_power_law
from rmjax.sweeps.statistics import holm, mean_interval, p_value


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


def test_the_interval_has_its_nominal_coverage():
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
    assert p_value(mean_interval([0.5, 0.5])) == 0.5  # two seeds of one sign: as likely as two equal tosses of a coin
    assert p_value(mean_interval([-0.1, -0.1, -0.1])) == 0.25  # whose standard deviation is not 0 but rounding
    assert np.isnan(p_value(mean_interval([0.5])))


def test_holm_by_hand():
    # Sorted: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04, which must not be below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, np.nan, 0.6]) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert holm([]) == []


def test_holm_equals_its_sequential_procedure():
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


def test_a_line_in_logarithms_is_recovered():
    generator = np.random.default_rng(0)
    parameters, comparisons = np.exp(generator.uniform(8, 14, 60)), np.exp(generator.uniform(6, 10, 60))
    accuracy = 0.5 + 0.007 * np.log(parameters) + 0.015 * np.log(comparisons) + generator.normal(scale=0.002, size=60)
    fitted = fit_logarithms(accuracy, {"parameters": parameters, "comparisons": comparisons})
    for name, truth in (("parameters", 0.007), ("comparisons", 0.015)):
        assert fitted[name].low < truth < fitted[name].high
        assert fitted[name].high - fitted[name].low < 0.002
    assert fitted["intercept"].low < 0.5 < fitted["intercept"].high
    assert fitted["residual"].value == pytest.approx(0.002, rel=0.25)


def test_most_intervals_of_a_power_law_contain_the_truth():
    """Ten data sets of four sizes and six amounts, as model_size.py has, with noise of a thousandth."""
    parameters, comparisons = (axis.ravel() for axis in np.meshgrid([2e5, 4e5, 6e5, 1.2e6], 1000 * 2.0 ** np.arange(6)))
    truth, covered = {"parameters": 0.5, "comparisons": 0.4, "floor": 0.3}, 0
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(scale=0.001, size=24)
        loss = 0.3 + 40 / parameters**0.5 + 3 / comparisons**0.4 + noise
        fitted = fit_power_law(loss, {"parameters": parameters, "comparisons": comparisons}, resamples=50)
        for name, value in truth.items():
            assert fitted[name].value == pytest.approx(value, rel=0.4)
            assert fitted[name].low < fitted[name].value < fitted[name].high
            covered += fitted[name].low < value < fitted[name].high
            assert fitted[name].high - fitted[name].low < 0.6 * value
    assert covered >= 24  # of 30; 95 % would be 28.5


def test_without_noise_a_power_law_is_exact():
    size = np.array([1e3, 4e3, 1.6e4, 6.4e4])
    fitted = fit_power_law(0.25 + 5 / size**0.7, {"comparisons": size}, resamples=50)
    expected = {"comparisons": 0.7, "floor": 0.25, "scale of comparisons": 5.0, "residual": 0.0}
    for name, value in expected.items():
        assert fitted[name].value == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("quantity", [[10, 20, 30], [10, 10, 20, 20, 20], [0, 1, 2, 3, 4]])
def test_too_few_points_or_values_fix_no_power_law(quantity):
    with pytest.raises(InputError, match="power law"):
        fit_power_law([0.5, 0.6, 0.7, 0.8, 0.9][: len(quantity)], {"comparisons": quantity})


@pytest.mark.parametrize("quantity", [[10, 20], [10, 10, 10, 10]])
def test_too_few_runs_or_a_constant_quantity_fix_no_line(quantity):
    with pytest.raises(InputError, match="do not fix a line"):
        fit_logarithms([0.5, 0.6, 0.7, 0.8][: len(quantity)], {"comparisons": quantity})
