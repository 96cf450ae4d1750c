"""The algorithms reach a known optimum through the code of real runs."""

import numpy as np
import pytest
from learning import algorithm, train
from toy import Toy

from rmjax.rlhf.policy import PolicyLossConfig


@pytest.fixture(scope="module")
def toy():
    return Toy(beta=0.7, scale=0.5)


@pytest.mark.parametrize("name", ["ppo", "rloo", "grpo"])
def test_the_optimum_is_reached(toy, name):
    """To 1 % of the way from the start to J*, without clipping."""
    params, metrics = train(toy, algorithm(toy, name), iterations=100, rate=0.15, copies=2)
    assert toy.gap(params["logits"]) < 0.01
    assert metrics[0]["kl"] == pytest.approx(0, abs=1e-5)
    _, best = toy.best()
    reached = np.asarray(toy.logprobs(params["logits"]))
    assert np.abs(np.exp(reached) - np.exp(best)).sum(1).max() < 0.2


def test_epochs_and_minibatches_with_clipping_reach_it_too(toy):
    loss = PolicyLossConfig(clip=0.2, value_clip=0.0, value_coef=1.0)
    config = algorithm(toy, "ppo", epochs=2, minibatches=2, loss=loss)
    params, metrics = train(toy, config, iterations=40, rate=0.1)
    assert toy.gap(params["logits"]) < 0.02
    assert 0 < np.mean([each["pg_clipfrac"] for each in metrics]) < 0.3


@pytest.mark.parametrize("name", ["ppo", "rloo"])
def test_an_end_that_is_the_padding_changes_nothing(name):
    """END is 0 = the padding, or 5: the same problem with other names of the tokens."""
    results = [
        train(Toy(end=end), algorithm(Toy(end=end), name, samples=16), iterations=3, rate=0.1)[1] for end in (0, 5)
    ]
    for one, other in zip(*results, strict=True):
        for key in ("reward", "kl", "entropy", "loss", "grad_norm", "length", "cut"):
            assert one[key] == pytest.approx(other[key], abs=2e-6), key
