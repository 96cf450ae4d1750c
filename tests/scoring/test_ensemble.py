"""Ensembles against arithmetic on the scores of their members, and combinations that are refused."""

import dataclasses

import jax
import numpy as np
import pytest

from rmjax.data.comparisons import Message
from rmjax.data.tokenizer import Tokenizer
from rmjax.errors import InputError
from rmjax.scoring.contract import Normalization
from rmjax.scoring.ensemble import Ensemble, average_weights
from rmjax.scoring.link import BRADLEY_TERRY, NO_ODDS
from rmjax.scoring.reward_function import Scored
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


@pytest.mark.parametrize(
    ("method", "links", "expected"),
    [
        ("mean", (BRADLEY_TERRY,) * 3, BRADLEY_TERRY),
        ("mean", (BRADLEY_TERRY, NO_ODDS, BRADLEY_TERRY), NO_ODDS),
        ("worst", (BRADLEY_TERRY,) * 3, NO_ODDS),
        ("uncertainty", (BRADLEY_TERRY,) * 3, NO_ODDS),
    ],
)
def test_only_the_mean_of_log_odds_is_log_odds(members, method, links, expected):
    linked = [
        RewardModel(m.params, dataclasses.replace(m.contract, link=link), m.tokenizer, m.layout)
        for m, link in zip(members, links, strict=True)
    ]
    ensemble = Ensemble(linked, method, 0.5 if method == "uncertainty" else None)
    assert ensemble.link == expected
    if expected == BRADLEY_TERRY:
        assert 0 < ensemble.probability(PROMPTS[0], *RESPONSES[0][:2], head="helpful") < 1
    else:
        with pytest.raises(InputError, match="give no probability that one answer is preferred"):
            ensemble.probability(PROMPTS[0], *RESPONSES[0][:2], head="helpful")


def test_the_cut_of_an_ensemble_is_the_most_that_a_member_cut(members):
    other = Tokenizer(members[0].tokenizer.hf, max_prompt=24, max_response=99)
    roomy = RewardModel(members[0].params, members[0].contract, other, members[0].layout)
    prompts, responses = [PROMPTS[0]], [["x" * 60, "y"]]
    cut = Ensemble([roomy, *members[1:]], "mean").score_groups(prompts, responses).cut
    assert roomy.score_groups(prompts, responses).cut[0].tolist() == [[0, 0], [0, 0]]
    assert cut[0].tolist() == members[1].score_groups(prompts, responses).cut[0].tolist()
    assert cut[0][0, 1] > 0


def test_the_constant_of_a_member_plays_no_part(members):
    """A shift of a member's scores and of its mean by the same is the same judge."""
    before = Ensemble(members, "worst").raw(PROMPTS, RESPONSES)
    score_groups = members[0].score_groups
    first = members[0].contract.normalization
    moved = RewardModel(members[0].params, members[0].contract, members[0].tokenizer, members[0].layout)
    moved.contract = dataclasses.replace(
        moved.contract, normalization={h: dataclasses.replace(n, mean=n.mean + 100.0) for h, n in first.items()}
    )

    def shifted(prompts, responses):
        scored = score_groups(prompts, responses)
        return Scored([scores + np.float32(100.0) for scores in scored.raw], scored.cut)

    moved.score_groups = shifted
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
    for head, found in average.contract.normalization.items():
        of_members = [member.contract.normalization[head] for member in members]
        assert found.mean == pytest.approx(np.mean([each.mean for each in of_members]))
        assert found.std == pytest.approx(np.mean([each.std for each in of_members]))
    same = average_weights([members[1]] * 2).raw(PROMPTS, RESPONSES)
    for a, b in zip(same, members[1].raw(PROMPTS, RESPONSES), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_normalized_scores_of_an_ensemble(members):
    """Its raw scores are centred, so they are divided by the mean of the members' standard deviations."""
    ensemble, head = Ensemble(members, "worst"), members[0].heads[0]
    raw, normalized, probability = (
        ensemble.score("How do I boil an egg?", RESPONSES[0], scale, head)
        for scale in ("raw", "normalized", "probability")
    )
    std = np.mean([member.contract.normalization[head].std for member in members])
    np.testing.assert_allclose(normalized, raw / std, rtol=1e-5)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-normalized)), rtol=1e-5)


def test_an_ensemble_ranks_and_scores_as_any_judge(members):
    ensemble = Ensemble(members, "mean")
    head = ensemble.heads[0]
    ranked = ensemble.rank("How do I boil an egg?", RESPONSES[0], head=head)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)


def test_an_ensemble_says_what_it_is(reward_model):
    for penalty, said in ((0.5, "uncertainty of 2 models, penalty 0.5"), (None, "worst of 2 models")):
        ensemble = Ensemble([reward_model] * 2, said.partition(" ")[0], penalty)
        assert repr(ensemble) == f"Ensemble({said}; the first: {reward_model!r})"


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
