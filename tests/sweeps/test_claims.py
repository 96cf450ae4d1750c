"""Verdicts on published claims against intervals whose answer is known, and the table of a sweep's claims."""

import math

import pytest
from test_results import ROWS, write

from rmjax.errors import InputError
from rmjax.sweeps.claims import ABSENT, NOT_TOLD, REPRODUCED, SMALLER, claim_table, verdict
from rmjax.sweeps.results import read_sweep
from rmjax.sweeps.settings import Claim
from rmjax.sweeps.statistics import MeanInterval, mean_interval

SETTINGS = {
    "text": "It helps (1234.56789).",
    "measure": "accuracy",
    "at": {"size": 2000, "start": "SFT"},
    "reference": {"size": 1000, "start": "SFT"},
}


@pytest.mark.parametrize(
    ("effect", "low", "high", "expected"),
    [
        (0.01, 0.001, 0.012, REPRODUCED),
        (0.01, 0.001, 0.004, SMALLER),
        (0.01, 0.02, 0.03, REPRODUCED),
        (0.01, -0.004, 0.009, ABSENT),
        (0.01, -0.03, -0.02, ABSENT),
        (0.01, -0.004, 0.011, NOT_TOLD),
        (-0.01, -0.012, -0.001, REPRODUCED),
        (-0.01, -0.004, -0.001, SMALLER),
        (0.01, 0.02, 0.02, NOT_TOLD),  # the same in all seeds
        (-0.01, -0.009, 0.004, ABSENT),
        (-0.01, 0.02, 0.03, ABSENT),
        (-0.01, -0.011, 0.004, NOT_TOLD),
        (0.01, math.nan, math.nan, NOT_TOLD),
    ],
)
def test_an_effect_is_reproduced_smaller_absent_or_not_told(effect, low, high, expected):
    found = MeanInterval((low + high) / 2, (high - low) / 8.6, low, high, 3)  # t(0.975; 2) = 4.3
    assert verdict(Claim(**SETTINGS, effect=effect), found) == expected


def test_a_difference_that_is_the_same_in_all_seeds_tells_nothing():
    """The standard error of three equal values is not 0 but rounding, so the interval is not exactly a point."""
    found = mean_interval([0.1, 0.1, 0.1])
    assert found.low < found.high
    assert verdict(Claim(**SETTINGS, effect=0.01), found) == NOT_TOLD


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.009, 0.009, REPRODUCED),
        (0.002, 0.009, REPRODUCED),  # a difference within the margin
        (0.011, 0.02, ABSENT),
        (-0.02, -0.011, ABSENT),
        (-0.011, 0.0, NOT_TOLD),
        (0.0, 0.011, NOT_TOLD),
    ],
)
def test_equality_is_a_difference_within_the_margin(low, high, expected):
    claim = Claim(**SETTINGS, effect=0.01, equal=True)
    assert verdict(claim, MeanInterval((low + high) / 2, 0.1, low, high, 3)) == expected


def test_the_table_of_a_sweep(tmp_path):
    assumed = {"seed_sd": 0.0, "prompts": 2000, "prompt_sd": 0.1}
    claims = [
        {**SETTINGS, "effect": 0.05},
        {**SETTINGS, "effect": 0.05, "published": False, "equal": True},
        {**SETTINGS, "effect": -0.1, "measure": "loss"},
    ]
    write(tmp_path, ROWS, claims=claims, assumed=assumed)
    found, equal, loss = claim_table(read_sweep(tmp_path))[1:]
    # 2.80 · 0.1 / √2000 is 0.6 points; both seeds rise by 10 points.
    assert found[:4] == ["It helps (1234.56789).", "accuracy, %", "+5.0", "0.6"]
    assert found[4].startswith("+10.0")
    assert equal[2] == "no number; within ±5.0 is of interest"
    assert loss[2:4] == ["-0.100", "-"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "speed"}, "about 'speed', which is no measure: known are"),
        ({"at": {"size": 3000, "start": "SFT"}}, "about size 3,000, start SFT, which is no setting of the sweep"),
        ({"effect": 0}, "the effect of a claim must not be 0: It helps"),
    ],
)
def test_a_claim_about_nothing_is_an_error(tmp_path, changes, message):
    write(tmp_path, ROWS, claims=[{**SETTINGS, "effect": 0.05, **changes}])
    with pytest.raises(InputError, match=message):
        read_sweep(tmp_path)
