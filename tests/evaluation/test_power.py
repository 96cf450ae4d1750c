"""The smallest detectable effect against simulated tests, textbook formulas, and its limits."""

import math

import numpy as np
import pytest
import scipy

from rmjax.errors import InputError
from rmjax.evaluation.crossed import crossed_interval
from rmjax.evaluation.power import smallest_effect


@pytest.mark.parametrize(("seeds", "seed_sd"), [(3, 0.002), (3, 0.02), (5, 0.01)])
def test_four_of_five_simulated_tests_find_the_effect(seeds, seed_sd):
    """1,500 experiments on 400 prompts, of which 10 % are decided by one run alone, the same ones in every seed."""
    prompts, discordant = 400, 0.1
    effect = smallest_effect(seeds=seeds, seed_sd=seed_sd, prompts=prompts, prompt_sd=math.sqrt(discordant))
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(1500):
        better = generator.random(prompts) < discordant / 2 + effect / 2
        worse = ~better & (
            generator.random(prompts) < (discordant / 2 - effect / 2) / (1 - discordant / 2 - effect / 2)
        )
        values = (better.astype(float) - worse)[None] + generator.normal(0, seed_sd, (seeds, 1))
        found += crossed_interval(values, np.ones(prompts, int)).low > 0
    assert found / 1500 == pytest.approx(0.8, abs=0.035)  # three standard errors of the share


def test_many_prompts_leave_students_test_over_seeds():
    effect = smallest_effect(seeds=4, seed_sd=0.01, prompts=10**9, prompt_sd=0.3)
    critical = scipy.stats.t.ppf(0.975, 3)
    assert scipy.stats.nct.sf(critical, 3, effect / (0.01 / 2)) == pytest.approx(0.8, abs=1e-3)


def test_equal_seeds_leave_the_normal_test_over_prompts():
    effect = smallest_effect(seeds=3, seed_sd=0.0, prompts=10**6, prompt_sd=0.4)
    assert effect == pytest.approx((1.9600 + 0.8416) * 0.4 / 10**3, rel=1e-4)


def test_seeds_prompts_and_power_change_it_as_they_should():
    usual = {"seeds": 3, "seed_sd": 0.005, "prompts": 2000, "prompt_sd": 0.1}
    effect = smallest_effect(**usual)
    assert smallest_effect(**{**usual, "seeds": 6}) < effect
    assert smallest_effect(**{**usual, "prompts": 4000}) < effect
    assert smallest_effect(**{**usual, "seed_sd": 0.01}) > effect
    assert smallest_effect(**usual, power=0.9) > effect
    assert smallest_effect(**{**usual, "seed_sd": 0.0, "prompt_sd": 0.0}) == 0.0


@pytest.mark.parametrize(
    "wrong", [{"seeds": 1}, {"seed_sd": -0.1}, {"prompts": 1}, {"prompt_sd": -0.1}, {"power": 1.0}, {"power": 0.01}]
)
def test_values_out_of_range_are_errors(wrong):
    with pytest.raises(InputError, match="smallest detectable effect needs"):
        smallest_effect(**{"seeds": 3, "seed_sd": 0.01, "prompts": 100, "prompt_sd": 0.1, **wrong})
