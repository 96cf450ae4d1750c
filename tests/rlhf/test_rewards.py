"""Rewards per token, their sum, and its parts."""

import numpy as np
import pytest
from rollouts import END, decode, length_of_text, make_rollout

from rmjax.data.comparisons import Message
from rmjax.errors import InputError
from rmjax.rlhf import rewards, scores
from rmjax.rlhf.prefixes import dense, prefix_scores, shaped
from rmjax.rlhf.rewards import RewardTerm, add_up

GROUPS = [[[5, 6, END], [END]], [[4, 7, 8], [3, END]]]
LENGTH = scores.from_function(length_of_text)


@pytest.fixture
def rollout():
    return make_rollout(GROUPS)


def test_a_sparse_reward_is_the_score_at_the_last_token(rollout):
    found = rewards.sparse(scores.of_responses(LENGTH))(rollout)
    assert found.tolist() == [[0, 0, 2], [0, 0, 0], [0, 0, 13], [0, 11, 0]]
    assert found.dtype == np.float32


def test_penalties_by_hand(rollout):
    assert rewards.missing_end_penalty(2.0)(rollout).tolist() == [[0] * 3, [0] * 3, [0, 0, -2], [0] * 3]
    assert rewards.length_penalty(1, 0.5)(rollout).tolist() == [[0, -0.5, -0.5], [0] * 3, [0, -0.5, -0.5], [0, -0.5, 0]]
    np.testing.assert_allclose(
        rewards.surprisal()(rollout), [[0.6, 0.7, 0.1], [0.1, 0, 0], [0.5, 0.8, 0.9], [0.4, 0.1, 0]], rtol=1e-6
    )
    kl = rewards.kl_penalty(rollout.logprob_NxT, rollout.logprob_NxT - 0.5, rollout.mask_NxT, 0.2)
    np.testing.assert_allclose(kl, -0.1 * rollout.mask_NxT, rtol=1e-5)


def test_dense_rewards_are_differences_of_prefix_scores(rollout):
    """5 6 END has the prefix scores 0, 1, 2; the ending adds nothing. Prompt 1 adds 10 to all its scores."""
    found = dense(prefix_scores(LENGTH, decode))(rollout)
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [11, 1, 1], [11, 0, 0]]
    np.testing.assert_array_equal(found.sum(1), scores.of_responses(LENGTH)(rollout))


def test_shaped_rewards_telescope(rollout):
    gamma = 0.9
    phi = prefix_scores(LENGTH, decode)(rollout)
    found = shaped(prefix_scores(LENGTH, decode), gamma=gamma)(rollout)
    assert phi.tolist() == [[0, 1, 2, 2], [0, 0, 0, 0], [10, 11, 12, 13], [10, 11, 11, 11]]
    np.testing.assert_allclose(found[0], [0.9 * 1, 0.9 * 2 - 1, -2], rtol=1e-6)
    np.testing.assert_allclose(found[2], [0.9 * 11 - 10, 0.9 * 12 - 11, -12], rtol=1e-5)
    for n, length in enumerate(rollout.length_N):
        for t in range(length):
            later = sum(gamma ** (i - t) * found[n, i] for i in range(t, length))
            assert later == pytest.approx(-phi[n, t], abs=1e-5)


def test_prefixes_can_be_scored_less_often(rollout):
    calls = []

    def counting(prompts, texts):
        calls.append(texts)
        return LENGTH(prompts, texts)

    found = prefix_scores(counting, decode, every=2)(rollout)
    assert found.tolist() == [[0, 0, 2, 2], [0, 0, 0, 0], [10, 10, 12, 13], [10, 11, 11, 11]]
    assert calls == [[["", "5 6", ""], ["", "4 7", "4 7 8", "", "3"]]]


def test_an_ending_of_two_tokens_has_no_text():
    rollout = make_rollout([[[5, 6, 8, END]]])
    rollout = type(rollout)(**{**vars_of(rollout), "texts": ("5 6",)})
    found = prefix_scores(LENGTH, decode, ending=2)(rollout)
    assert found.tolist() == [[0, 1, 2, 2, 2]]


def vars_of(rollout):
    return {name: getattr(rollout, name) for name in ("prompts", "prompt_ids", "group_N", "samples", "texts", "step")}


def test_relative_scores(rollout):
    score = scores.of_responses(LENGTH)
    references = {rollout.prompts[0]: np.array([1.0, 3.0]), rollout.prompts[1]: np.array([12.0])}
    assert scores.contrastive(score, references)(rollout).tolist() == [0, -2, 1, -1]
    sigmoid = 1 / (1 + np.exp(-np.array([1.0, -1.0, -3.0])))
    expected = [(sigmoid[0] + sigmoid[1]) / 2, (sigmoid[1] + sigmoid[2]) / 2, sigmoid[0], sigmoid[1]]
    np.testing.assert_allclose(scores.bounded(score, references)(rollout), expected, rtol=1e-6)
    assert scores.reference_scores(rollout, score(rollout))[rollout.prompts[1]].tolist() == [13, 11]
    with pytest.raises(InputError, match="'prompt 1' has no reference responses"):
        scores.contrastive(score, {rollout.prompts[0]: np.array([1.0])})(rollout)


def test_the_gold_reward_of_a_rollout():
    from rmjax.data.gold.corpus import comparisons, demonstrations
    from rmjax.data.gold.reward import gold

    demonstration = next(iter(demonstrations("helpful", "test", 1)))
    found = scores.from_gold("helpful")([demonstration.prompt], [[demonstration.response, ""]])
    assert found[0][0] == np.float32(gold(demonstration.prompt, demonstration.response).helpful)
    assert found[0][0] > found[0][1]
    unsafe = next(c for c in comparisons("safety", "test", 50) if c.unsafe and {*c.unsafe} == {True, False})
    safe = scores.from_gold("safe_to_unsafe")([unsafe.prompt], [unsafe.responses])[0]
    assert safe.tolist() == [float(not each) for each in unsafe.unsafe]
    assert np.isnan(scores.from_gold("helpful_to_safe")([unsafe.prompt], [unsafe.responses])[0]).all()
    other = next(
        c for c in comparisons("safety", "test", 50) if c.unsafe and not any(c.unsafe) and c.subset != "unsafe"
    )
    both = [scores.from_gold(name)([other.prompt], [other.responses])[0] for name in ("helpful_to_safe", "helpful")]
    assert np.array_equal(*both)
    assert np.isnan(scores.from_gold("safe_to_unsafe")([other.prompt], [other.responses])[0]).all()
    with pytest.raises(InputError, match="helpful, safety, helpful_to_safe or safe_to_unsafe"):
        scores.from_gold("kind")


def test_the_mean_of_scores():
    """Of 2 and 4 for the first response, of 3 and 5 for the second."""
    found = scores.mean_of(
        [scores.from_function(lambda _, text: len(text)), scores.from_function(lambda _, text: 2.0 + len(text))]
    )
    assert found([()], [["ab", "abc"]])[0].tolist() == [3.0, 4.0]


def test_a_reward_model_scores_text(reward_model):
    prompts, texts = [(Message("user", "Why?"),), (Message("user", "How?"),)], [["Yes.", "No."], ["Maybe."]]
    for scale in ("raw", "normalized"):
        found = scores.from_model(reward_model, "safety", scale=scale)(prompts, texts)
        expected = [
            reward_model.score(p, list(t), scale=scale, head="safety") for p, t in zip(prompts, texts, strict=True)
        ]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(InputError, match="several heads"):
        scores.from_model(reward_model)


def test_terms_add_up_with_their_weights(rollout):
    terms = [
        RewardTerm("length", rewards.sparse(scores.of_responses(LENGTH)), weight=0.5),
        RewardTerm("end", rewards.missing_end_penalty(2.0), weight=3.0),
    ]
    found = add_up(terms, rollout)
    assert found.total_NxT.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0.5], [0, 5.5, 0]]
    assert found.metrics["length_raw"] == pytest.approx(26 / 4)
    assert found.metrics["length_weighted"] == pytest.approx(13 / 4)
    assert found.metrics["end_weighted"] == pytest.approx(-6 / 4)


def test_normalized_totals_have_mean_zero_and_deviation_one(rollout):
    potential = prefix_scores(LENGTH, decode)
    found = add_up([RewardTerm("dense", dense(potential), normalize=True)], rollout)
    totals = found.parts["dense"].sum(1)
    assert totals.mean() == pytest.approx(0, abs=1e-6)
    assert totals.std() == pytest.approx(1, rel=1e-5)
    # Differences between tokens keep their proportion: only the last token has the shift.
    raw = dense(potential)(rollout)
    scale = raw.sum(1).std()
    np.testing.assert_allclose(found.parts["dense"][2, :2], raw[2, :2] / scale, rtol=1e-5)
    assert found.metrics["dense_raw"] == pytest.approx(raw.sum(1).mean())


def test_a_bound_applies_to_the_total_of_a_response(rollout):
    found = add_up([RewardTerm("dense", dense(prefix_scores(LENGTH, decode)), clip=12.0)], rollout).parts["dense"]
    np.testing.assert_allclose(found.sum(1), [2, 0, 12, 11], rtol=1e-6)
    np.testing.assert_allclose(found[2], np.array([11, 1, 1]) * 12 / 13, rtol=1e-6)


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (lambda rollout: np.zeros(4, np.float32), r"gave an array float32\[4\]"),
        (lambda rollout: np.zeros((4, 3), np.int32), "gave an array int32"),
        (lambda rollout: np.full((4, 3), np.nan, np.float32), "not finite for the response '5 6'"),
        (lambda rollout: np.ones((4, 3), np.float32), "not 0 after the end"),
    ],
)
def test_unusable_rewards(rollout, reward, sentence):
    with pytest.raises(InputError, match=sentence):
        add_up([RewardTerm("mine", reward)], rollout)


def test_names_are_unique(rollout):
    term = RewardTerm("same", rewards.surprisal())
    with pytest.raises(InputError, match="different names"):
        add_up([term, term], rollout)


def test_there_is_a_reward(rollout):
    with pytest.raises(InputError, match="there is no reward"):
        add_up([], rollout)


def test_shares_of_the_variance_add_up_to_one():
    rng = np.random.default_rng(0)
    mask = rng.random((20, 4)) < 0.8
    parts = {name: rng.normal(size=(20, 4)) * size for name, size in (("a", 1.0), ("b", 3.0), ("c", 0.0))}
    shares = rewards.variance_shares(parts, mask)
    assert sum(shares.values()) == pytest.approx(1)
    total = sum(parts.values())[mask]
    assert shares["a"] == pytest.approx(np.cov(parts["a"][mask], total, ddof=0)[0, 1] / total.var())
    assert shares["c"] == 0
