"""Heads and gate together against the model and the gated model alone."""

import dataclasses

import numpy as np
import pytest
from conftest import user

from rmjax.errors import InputError
from rmjax.scoring.contract import Gate
from rmjax.scoring.gate import REFUSAL, GatedModel
from rmjax.scoring.heads_and_gate import HeadsAndGate


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_columns_are_the_heads_and_the_gate(make_model, reward_model, threshold):
    gate = Gate("helpful", "safety", threshold, 0.3, REFUSAL, 0.2, 1.5, 0.8, "made up")
    model = make_model()
    model.contract = dataclasses.replace(reward_model.contract, gate=gate)
    prompts = [user("How do I boil an egg?"), user("Why?")]
    responses = [["Yes.", "Paris, of course.", ""], ["No."]]
    both = HeadsAndGate(model)
    assert both.heads == ("helpful", "safety", "gate")
    found, heads, gated = (each.score_groups(prompts, responses) for each in (both, model, GatedModel(model)))
    for k in range(2):
        np.testing.assert_allclose(found.raw[k][:, :2], heads.raw[k], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.raw[k][:, 2:], gated.raw[k], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found.cut[k], heads.cut[k])
    for scale in ("normalized", "probability"):
        for z, one in enumerate((model, model, GatedModel(model))):
            head, raw = both.heads[z], found.raw[0][:, z]
            np.testing.assert_array_equal(both.rescale(raw, scale, head), one.rescale(raw, scale, head))


def test_a_model_without_a_gate_is_an_error(make_model):
    with pytest.raises(InputError, match="no gate"):
        HeadsAndGate(make_model())
