"""Ensembles against arithmetic on their members' own scores, and what must not be combined."""

import dataclasses

import jax
import numpy as np
import pytest

from rmjax.data.comparisons import Message
from rmjax.errors import InputError
from rmjax.scoring.contract import Normalization
from rmjax.scoring.ensemble import Ensemble, average_weights
from rmjax.scoring.reward_model import RewardModel

PROMPTS = [(Message("user", "How do I boil an egg?"),), (Message("user", "What is the capital of France?"),)]
RESPONSES = [["Seven minutes.", "I will not help with that."], ["Paris.", "Of course.", "Boiling water."]]


@pytest.fixture(scope="module")
def members(reward_model):
    """Three models of one start whose weights differ, each with its own mean."""

    def member(number):
        key = jax.random.key(number)
        params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(key, x.shape, x.dtype), reward_model.params)
        normalization = {
            head: Normalization(0.5 * number, 1.0 + number, 8, "references") for head in reward_model.heads
        }
        contract = dataclasses.replace(
            reward_model.contract, normalization=normalization, data={"start": "random -> sft", "init_seed": 3}
        )
        return RewardModel(params, contract, reward_model.tokenizer, reward_model.layout)

    return [member(number) for number in range(3)]


def centred(members):
    """[M] lists of [K, Z], each less its member's mean."""
    return [[raw - np.float32(0.5 * m) for raw in member.raw(PROMPTS, RESPONSES)] for m, member in enumerate(members)]


@pytest.mark.parametrize("method", ["mean", "worst", "uncertainty"])
def test_the_combination_is_that_of_the_centred_scores(members, method):
    combined = Ensemble(members, method, 0.5 if method == "uncertainty" else None).raw(PROMPTS, RESPONSES)
    for found, *each in zip(combined, *centred(members), strict=True):
        scores = np.stack(each).astype(np.float64)
        expected = {
            "mean": scores.mean(0),
            "worst": scores.min(0),
            "uncertainty": scores.mean(0) - 0.5 * ((scores - scores.mean(0)) ** 2).mean(0),
        }[method]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert np.ptp(scores, axis=0).max() > 0.05  # or all methods would be one


def test_the_constant_of_a_member_plays_no_part(members):
    """A shift of a member's scores and of its mean by the same is the same judge."""
    before = Ensemble(members, "worst").raw(PROMPTS, RESPONSES)
    raw = members[0].raw
    first = members[0].contract.normalization
    moved = RewardModel(members[0].params, members[0].contract, members[0].tokenizer, members[0].layout)
    moved.contract = dataclasses.replace(
        moved.contract, normalization={h: dataclasses.replace(n, mean=n.mean + 100.0) for h, n in first.items()}
    )
    moved.raw = lambda prompts, responses: [scores + np.float32(100.0) for scores in raw(prompts, responses)]
    after = Ensemble([moved, *members[1:]], "worst").raw(PROMPTS, RESPONSES)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_averaged_weights_are_the_mean_and_score_on_their_own(members):
    average = average_weights(members)
    expected = jax.tree.map(
        lambda *x: np.mean(np.stack([np.asarray(each) for each in x]), axis=0), *(m.params for m in members)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-6), average.params, expected
    )
    assert not average.contract.canaries
    same = average_weights([members[1]] * 2).raw(PROMPTS, RESPONSES)
    for a, b in zip(same, members[1].raw(PROMPTS, RESPONSES), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_ensemble_ranks_and_scores_as_any_judge(members):
    ensemble = Ensemble(members, "mean")
    head = ensemble.heads[0]
    ranked = ensemble.rank("How do I boil an egg?", RESPONSES[0], head=head)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    with pytest.raises(InputError, match="no normalized scores"):
        ensemble.score("q", "a", scale="normalized", head=head)


def test_what_does_not_fit_is_refused(members):
    with pytest.raises(InputError, match="at least two members, found 1"):
        Ensemble(members[:1], "mean")
    with pytest.raises(InputError, match="unknown way to combine 'median'"):
        Ensemble(members, "median")
    for method, penalty in (("uncertainty", None), ("mean", 0.5), ("uncertainty", -1.0)):
        with pytest.raises(InputError, match="penalty of at least 0"):
            Ensemble(members, method, penalty)

    def changed(**fields):
        return RewardModel(
            members[0].params,
            dataclasses.replace(members[0].contract, **fields),
            members[0].tokenizer,
            members[0].layout,
        )

    with pytest.raises(InputError, match="member 2 has no normalization"):
        Ensemble([members[0], changed(normalization={})], "mean")
    with pytest.raises(InputError, match="began with 'random -> sft' and member 2 with 'other'"):
        average_weights([members[0], changed(data={"start": "other"})])
    for data in ({"start": "random -> sft", "init_seed": 4}, {"start": "random -> sft"}):
        with pytest.raises(InputError, match="whose heads began alike"):
            average_weights([members[0], changed(data=data)])
    with pytest.raises(InputError, match="differ in max_prompt"):
        average_weights([members[0], changed(max_prompt=7)])
    random = changed(data={"start": "random"})
    with pytest.raises(InputError, match="only between models fine-tuned from the same"):
        average_weights([random, random])
